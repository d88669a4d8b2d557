/** Whether a name is a time zone of the IANA database, as this runtime knows it. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch (err) {
    if (err instanceof RangeError) return false
    throw err
  }
}

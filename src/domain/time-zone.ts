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

/** The day of a moment in a time zone, `YYYY-MM-DD`. @param ms milliseconds since the Unix epoch */
export function dayAt(ms: number, timeZone: string): string {
  return dayFormat(timeZone).format(ms)
}

/** Formats moments as the day of a time zone, `YYYY-MM-DD`. @throws {RangeError} when the zone is not known */
export function dayFormat(timeZone: string): Pick<Intl.DateTimeFormat, 'format'> {
  return new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short' })
}

import type { Log } from '../log/log.ts'
import type { Database } from './database.ts'
import { DIRECT_SETTINGS, POOLED_SETTINGS } from './session-settings.ts'

/**
 * Logs the settings of the role or of the database that differ from what this service needs, by name: behind a pooler it
 * cannot set them itself. A setting that the server does not have is none.
 * @returns the settings that differ
 * @throws {DatabaseUnavailableError}
 */
export async function reportSettings(database: Pick<Database, 'run'>, log: Log): Promise<Record<string, string>> {
  const needed = JSON.stringify({ ...POOLED_SETTINGS, ...DIRECT_SETTINGS })
  const rows = await database.run(
    sql => sql<{ name: string; value: string }[]>`
      select name, current_setting(name) as value
      from pg_settings join jsonb_each_text(${needed}::text::jsonb) as needed (wanted, needed_value)
        on lower(name) = lower(wanted)
      where current_setting(name) <> needed_value
      union all
      select 'search_path', current_setting('search_path') where current_schema() is null
      order by name`
  )
  const settings = Object.fromEntries(rows.map(({ name, value }) => [name, value]))
  if (rows.length > 0) log.warn({ settings }, 'settings of the database role in the way')
  return settings
}

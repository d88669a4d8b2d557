import manifest from '../../package.json' with { type: 'json' }
import type { TransactionSql } from './client.ts'

/**
 * The oldest version of the service that works on the schema after each migration. Migrations that only add declare the
 * version of the one before them. One that removes or changes what an older version uses declares the first version that
 * does not use it any more. The versions never decrease, and none is above that of package.json. Not in the migration
 * itself: an applied file must not change. Versions before 0.2.0 do not read the declaration.
 */
export const OLDEST_SERVICE: Readonly<Record<string, string>> = {
  '001.do.replicas.sql': '0.1.0',
  '002.do.sign-in.sql': '0.1.0',
  '003.do.scheduler.sql': '0.1.0',
  '004.do.trading.sql': '0.1.0',
  '005.do.cache-commands.sql': '0.1.0',
  '006.do.outbox.sql': '0.1.0',
  '007.do.cache-command-results.sql': '0.1.0',
  '008.do.outbox-leases-and-alerts.sql': '0.1.0',
  '010.do.positions-by-order-of-execution.sql': '0.1.0',
  '011.do.performance.sql': '0.1.0',
  '012.do.alert-progress.sql': '0.1.0',
  '013.do.replica-settings.sql': '0.1.0',
  '014.do.job-runners.sql': '0.1.0',
  '015.do.health-history.sql': '0.1.0',
  '016.do.order-mismatches.sql': '0.1.0',
  '017.do.sign-in-networks.sql': '0.1.0',
  '018.do.audit-log-functions.sql': '0.1.0',
  '019.do.user-roles.sql': '0.1.0',
  '020.do.instruments.sql': '0.1.0',
  '021.do.exchange-bans.sql': '0.1.0',
  '022.do.partial-runs.sql': '0.1.0',
  '023.do.base-and-quote.sql': '0.1.0',
  '024.do.failing-accounts-and-flagged-orders.sql': '0.1.0',
  '025.do.invalid-rows.sql': '0.1.0',
  '026.do.ages-of-values.sql': '0.1.0',
  '027.do.replaced-executions.sql': '0.1.0',
  '028.do.balance-readings.sql': '0.1.0',
  '029.do.emptied-wallets.sql': '0.1.0',
  '030.do.ledger.sql': '0.1.0',
  '031.do.books.sql': '0.1.0',
  '033.do.round-trips.sql': '0.1.0',
  '034.do.external-orders.sql': '0.1.0',
  '035.do.funding-shares.sql': '0.1.0',
  '037.do.strategy-capital.sql': '0.1.0',
  '038.do.equity.sql': '0.1.0',
  '039.do.sent-summaries.sql': '0.1.0',
  '040.do.ledger-listed.sql': '0.1.0',
  '041.do.fees-without-value.sql': '0.1.0',
  '042.do.fill-readings.sql': '0.1.0',
  '044.do.round-trips-of-ends.sql': '0.1.0',
  '045.do.holder-of-position.sql': '0.1.0',
  '046.do.rights-of-supersede.sql': '0.1.0',
  '047.do.fill-symbols.sql': '0.1.0',
  '048.do.open-orders-seen.sql': '0.1.0',
  '049.do.api-tokens.sql': '0.1.0',
  '051.do.pages-of-days.sql': '0.1.0',
  '053.do.pages-of-the-read-api.sql': '0.1.0',
  '056.do.order-entry.sql': '0.1.0',
  '057.do.telegram-commands.sql': '0.1.0',
  '059.do.outbox-destinations.sql': '0.1.0',
  '060.do.heartbeat.sql': '0.1.0',
  '062.do.position-adjustments.sql': '0.1.0',
  '064.do.quiet-windows.sql': '0.1.0',
  '066.do.recount-of-new-totals.sql': '0.1.0',
  '070.do.comments.sql': '0.1.0',
  '071.do.account-of-an-order.sql': '0.1.0'
}

/** The version of this service, from package.json when it was built: `0.3.0-rc.1` counts as `0.3.0`. */
const [VERSION = '0.0.0'] = manifest.version.split('-')

/** The comment on the table of versions has the declaration: to read it, no table is locked. */
const COMMENT = "obj_description(to_regclass('schema_version'), 'pg_class')"
const DECLARED = `substring(${COMMENT} from 'oldest-service: ([0-9]{1,9}[.][0-9]{1,9}[.][0-9]{1,9})')`
const numbers = (version: string) => `string_to_array(${version}, '.')::int[]`

/** SQL query: a sentence when the database declares a newer version than this one as the oldest; no row otherwise. */
export const TOO_OLD_SERVICE = `
  select format('it is for version %s of the service or later, and this is %s', declared, '${VERSION}')
  from (select ${DECLARED}) as recorded (declared) where ${numbers('declared')} > ${numbers(`'${VERSION}'`)}`

const NEWEST = Object.values(OLDEST_SERVICE).at(-1) ?? '0.0.0'

/**
 * SQL expression: whether there is nothing to record on a schema with all migrations of this version. A restore may have
 * lost the comment, and versions before 0.2.0 do not write it. Only the owner of the table of versions can write it.
 */
export const IS_RECORDED = `coalesce((
  select coalesce(${numbers(DECLARED)} >= ${numbers(`'${NEWEST}'`)}, false) or not pg_has_role(relowner, 'USAGE')
  from pg_catalog.pg_class where oid = to_regclass('schema_version')
), false)`

/**
 * Records the declaration of the newest migration of this version, in the transaction that applies the migrations. The
 * role must own the table of versions. Idempotent.
 */
export async function recordOldestService(tx: TransactionSql): Promise<void> {
  await tx.unsafe(`comment on table schema_version is 'oldest-service: ${NEWEST}'`)
}

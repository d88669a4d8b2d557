-- Rows of exchanges that cannot be read, or whose amounts contradict each other: one row per kind of fault, for diagnosis.
create table invalid_rows (
  invalid_row_id bigint generated always as identity primary key,
  exchange text not null,
  market_type text not null,
  -- What was read: openOrders, fills, balances, lastPrices, …
  operation text not null,
  -- No reference: an account may be deleted before its invalid rows. Null for prices and instruments.
  account_id bigint,
  kind text not null,
  -- The place of the fault.
  reason text not null,
  -- Of the latest row: names of fields, numbers, words. Never with a key or secret.
  excerpt text not null check (length(excerpt) <= 400),
  first_seen timestamptz not null,
  last_seen timestamptz not null,
  times bigint not null
);
create unique index invalid_rows_fault
  on invalid_rows (exchange, market_type, operation, coalesce(account_id, 0), kind, reason);
create index invalid_rows_by_time on invalid_rows (last_seen);

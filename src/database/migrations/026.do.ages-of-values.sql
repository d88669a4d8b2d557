-- Unknown until a position is marked.
alter table strategy_positions alter column unrealized_pnl drop default, alter column unrealized_pnl drop not null;
update strategy_positions set unrealized_pnl = null where quantity <> 0 and mark_price is null;

-- The ages of what a summary has: when the oldest of its balances was read, of its unfinished orders was checked, and of
-- its positions was marked. Of its open positions, how many have no mark, and how many one older than 15 minutes.
alter table daily_account_summaries
  add column balances_as_of timestamptz,
  add column orders_as_of timestamptz,
  add column marks_as_of timestamptz,
  add column positions_unmarked integer not null default 0,
  add column positions_old_mark integer not null default 0;

-- How the exchange listed a position that differs: at these prices an adjustment opens what is missing.
alter table book_differences
  add column exchange_symbol text,
  add column entry_price numeric,
  add column mark_price numeric;

-- Adjustments of positions by an admin, by which a difference ends. Their executions have the trade id adjustment:<id>.
create table position_adjustments (
  adjustment_id bigint generated always as identity primary key,
  account_id bigint not null references accounts,
  market_type text not null check (market_type = 'FUTURES'),
  symbol text not null,
  position_side text not null check (position_side in ('BOTH', 'LONG', 'SHORT')),
  -- By what our position changes.
  amount numeric not null check (amount <> 0),
  reason text not null,
  -- Given by the admin, or made of the difference: an adjustment is recorded once.
  idempotency_key text not null,
  at timestamptz not null default now(),
  unique (account_id, idempotency_key)
);

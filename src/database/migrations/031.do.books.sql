-- The realised PnL of an execution as its exchange reports it, gross: the amount that changes the wallet. realized_pnl is
-- by the average cost of the position. Null on spot, and where the exchange reports none.
alter table trade_executions add column exchange_realized_pnl numeric;

-- When the wallets of an account were last read, and which of them not completely: of those, an asset without a row is
-- not known to be zero.
alter table balance_readings add column read_at timestamptz, add column incomplete jsonb not null default '[]';

-- The sums of what changed a wallet since it was opened: of the ledger entries, and of the executions. Triggers change them
-- in the transaction that writes an entry or an execution.
create table book_totals (
  account_id bigint not null references accounts,
  wallet text not null check (wallet in ('SPOT', 'FUTURES')),
  asset text not null,
  source text not null check (source in ('entries', 'executions')),
  amount numeric not null,
  -- How many of the amounts have more than 8 decimals, which an exchange may have rounded.
  rounded bigint not null default 0,
  primary key (account_id, wallet, asset, source)
);
alter table book_totals set (fillfactor = 80);

-- Which value of the exchange was compared last: of a wallet, or of the positions of an account.
create table book_checks (
  account_id bigint not null references accounts,
  subject text not null check (subject in ('SPOT', 'FUTURES', 'POSITIONS')),
  -- When it was last compared, or could not be.
  attempted_at timestamptz not null default now(),
  -- When the value that was compared last had been read from the exchange.
  compared_at timestamptz,
  primary key (account_id, subject)
);

-- Where our value of an asset in a wallet, or of a position, is not that of the exchange. A difference that ends before it
-- was reported is deleted. Others stay.
create table book_differences (
  difference_id bigint generated always as identity primary key,
  account_id bigint not null references accounts,
  wallet text,
  asset text,
  market_type text,
  symbol text,
  position_side text,
  ours numeric not null,
  theirs numeric not null,
  -- theirs - ours
  difference numeric not null,
  -- In how many runs in a row it existed.
  runs integer not null check (runs > 0),
  -- When the exchange was read that differed first.
  since timestamptz not null,
  -- When the value of the exchange was read.
  read_at timestamptz not null,
  last_checked_at timestamptz not null default now(),
  -- When it was reported: in the third run in a row. Null while it is tolerated.
  unexplained_at timestamptz,
  -- The entries and executions around its start, and what is known to be missing.
  causes jsonb not null default '[]',
  explained_at timestamptz,
  -- records: by entries or executions that were recorded, or by the next value of the exchange.
  explained_by text check (explained_by in ('records', 'adjustment')),
  check (num_nulls(wallet, asset) in (0, 2) and num_nulls(market_type, symbol, position_side) in (0, 3)),
  check ((wallet is null) <> (symbol is null)),
  check ((explained_at is null) = (explained_by is null))
);
create unique index book_differences_open on book_differences (
  account_id, coalesce(wallet, ''), coalesce(asset, ''), coalesce(market_type, ''), coalesce(symbol, ''),
  coalesce(position_side, '')
) where explained_at is null;

-- The market of the wallet that an execution changes. Unified accounts have one wallet.
create function book_wallet(exchange text, market_type text) returns text language sql immutable as $$
  select case when exchange in ('BYBIT', 'OKX') then 'SPOT' else market_type end
$$;

-- What an execution changes in its wallet. Where base and quote are not known, the change is not known, either.
create function execution_changes(
  market_type text, base text, quote text, side text, price numeric, quantity numeric, fee numeric, fee_asset text,
  pnl numeric
) returns table (asset text, amount numeric, rounded integer) language sql immutable as $$
  select change.asset, change.amount, case when scale(trim_scale(change.amount)) > 8 then 1 else 0 end
  from (values
    (case when market_type = 'SPOT' then base end, case when side = 'BUY' then quantity else -quantity end),
    (quote, case when market_type <> 'SPOT' then coalesce(pnl, 0) when side = 'BUY' then -price * quantity
      else price * quantity end),
    (fee_asset, -fee)
  ) as change (asset, amount)
  where change.asset is not null and change.amount <> 0
$$;

-- When a wallet was opened: the time of its opening entries, or of those of the account when it was empty; null before.
create function book_opened_at(of_account bigint, of_wallet text) returns timestamptz language sql stable as $$
  select coalesce(min(at) filter (where wallet = of_wallet), min(at)) from ledger_entries
  where account_id = of_account and wallet in ('SPOT', 'FUTURES') and kind = 'opening'
$$;

-- What the totals need of an execution. The row type of trade_executions itself would fail in sessions that have counted
-- executions before a column of the table is dropped.
create type counted_execution as (
  account_id bigint, market_type text, base text, quote text, side text, price numeric, quantity numeric, fee numeric,
  fee_asset text, pnl numeric, executed_at timestamptz
);

-- Adds executions to the totals, and subtracts others. Executions before the opening are part of it.
create function count_executions(added counted_execution[], removed counted_execution[]) returns void language sql as $$
  with moved as materialized (
    select e.*, book_wallet(a.exchange, e.market_type) as wallet
    from (select *, 1 as sign from unnest(added) union all select *, -1 from unnest(removed)) e
    join accounts a using (account_id)
  ), opened as materialized (
    select account_id, wallet, book_opened_at(account_id, wallet) as opened_at
    from (select distinct account_id, wallet from moved) wallets
  )
  insert into book_totals as held (account_id, wallet, asset, source, amount, rounded)
  select m.account_id, m.wallet, c.asset, 'executions', sum(m.sign * c.amount), sum(m.sign * c.rounded)
  from moved m join opened o on o.account_id = m.account_id and o.wallet = m.wallet
  cross join lateral execution_changes(
    m.market_type, m.base, m.quote, m.side, m.price, m.quantity, m.fee, m.fee_asset, m.pnl
  ) c
  where m.executed_at > o.opened_at
  group by m.account_id, m.wallet, c.asset
  having sum(m.sign * c.amount) <> 0 or sum(m.sign * c.rounded) <> 0
  order by m.account_id, m.wallet, c.asset
  on conflict (account_id, wallet, asset, source)
    do update set amount = held.amount + excluded.amount, rounded = held.rounded + excluded.rounded
$$;

create function count_changed_executions() returns trigger language plpgsql as $$
declare
  counted_in counted_execution[];
  counted_out counted_execution[];
begin
  if tg_op <> 'DELETE' then
    select array_agg(row(
      account_id, market_type, base, quote, side, price, quantity, fee, fee_asset,
      coalesce(exchange_realized_pnl, realized_pnl), executed_at
    )::counted_execution) into counted_in from added;
  end if;
  if tg_op <> 'INSERT' then
    select array_agg(row(
      account_id, market_type, base, quote, side, price, quantity, fee, fee_asset,
      coalesce(exchange_realized_pnl, realized_pnl), executed_at
    )::counted_execution) into counted_out from removed;
  end if;
  perform count_executions(counted_in, counted_out);
  return null;
end $$;
create trigger book_inserted_executions after insert on trade_executions
  referencing new table as added for each statement execute function count_changed_executions();
create trigger book_updated_executions after update on trade_executions
  referencing new table as added old table as removed for each statement execute function count_changed_executions();
create trigger book_deleted_executions after delete on trade_executions
  referencing old table as removed for each statement execute function count_changed_executions();

create function count_added_entries() returns trigger language plpgsql as $$
begin
  insert into book_totals as held (account_id, wallet, asset, source, amount)
  select e.account_id, e.wallet, e.asset, 'entries', sum(e.amount)
  from added e join (
    select account_id, wallet, book_opened_at(account_id, wallet) as opened_at
    from (select distinct account_id, wallet from added) wallets
  ) o on o.account_id = e.account_id and o.wallet = e.wallet
  where o.opened_at is not null and (e.kind in ('opening', 'adjustment') or e.at > o.opened_at)
  group by e.account_id, e.wallet, e.asset
  having sum(e.amount) <> 0
  order by e.account_id, e.wallet, e.asset
  on conflict (account_id, wallet, asset, source) do update set amount = held.amount + excluded.amount;
  return null;
end $$;
create trigger book_added_entries after insert on ledger_entries
  referencing new table as added for each statement execute function count_added_entries();

-- The totals of accounts by all of their entries and executions.
create function book_sums(of_accounts bigint[])
  returns table (account_id bigint, wallet text, asset text, source text, amount numeric, rounded bigint)
  language sql stable as $$
  with opened as materialized (
    select a.account_id, a.exchange, w.wallet, book_opened_at(a.account_id, w.wallet) as opened_at
    from accounts a cross join (values ('SPOT'), ('FUTURES')) w (wallet)
    where a.account_id = any (of_accounts)
  )
  select o.account_id, o.wallet, e.asset, 'entries', sum(e.amount), 0::bigint
  from opened o join ledger_entries e on e.account_id = o.account_id and e.wallet = o.wallet
  where o.opened_at is not null and (e.kind in ('opening', 'adjustment') or e.at > o.opened_at)
  group by o.account_id, o.wallet, e.asset
  union all
  select o.account_id, o.wallet, c.asset, 'executions', sum(c.amount), sum(c.rounded)
  from opened o join trade_executions e on e.account_id = o.account_id and e.executed_at > o.opened_at
    and o.wallet = book_wallet(o.exchange, e.market_type)
  cross join lateral execution_changes(
    e.market_type, e.base, e.quote, e.side, e.price, e.quantity, e.fee, e.fee_asset,
    coalesce(e.exchange_realized_pnl, e.realized_pnl)
  ) c
  group by o.account_id, o.wallet, c.asset
$$;

-- Sets the totals of accounts to the sums of all of their entries and executions. Under the locks of the totals no other
-- transaction can add to them: what it writes at the same time is added after this transaction.
create function recount_books(of_accounts bigint[]) returns void language plpgsql as $$
begin
  perform from book_totals where account_id = any (of_accounts)
    order by account_id, wallet, asset, source for update;
  with sums as materialized (
    select * from book_sums(of_accounts)
  ), gone as (
    update book_totals t set amount = 0, rounded = 0
    where t.account_id = any (of_accounts) and (t.amount <> 0 or t.rounded <> 0)
      and not exists (
        select from sums s
        where s.account_id = t.account_id and s.wallet = t.wallet and s.asset = t.asset and s.source = t.source
      )
  )
  insert into book_totals as held (account_id, wallet, asset, source, amount, rounded)
  select s.* from sums s order by s.account_id, s.wallet, s.asset, s.source
  on conflict (account_id, wallet, asset, source)
    do update set amount = excluded.amount, rounded = excluded.rounded
    where held.amount <> excluded.amount or held.rounded <> excluded.rounded;
end $$;

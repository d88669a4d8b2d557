-- The capital of a strategy on an account, from a time on: rows are added, and never changed.
create table strategy_capital (
  strategy_id bigint not null references strategies,
  account_id bigint not null references accounts,
  valid_from timestamptz not null,
  amount numeric not null check (amount >= 0),
  currency text not null,
  primary key (strategy_id, account_id, valid_from)
);
insert into strategy_capital (strategy_id, account_id, valid_from, amount, currency)
select strategy_id, account_id, '-infinity', allocated_capital, capital_currency from strategy_accounts;

-- The order-entry side changes allocated_capital. Two changes in one transaction are one.
create function record_strategy_capital() returns trigger language plpgsql security definer set search_path from current as $$
begin
  insert into strategy_capital (strategy_id, account_id, valid_from, amount, currency)
  values (new.strategy_id, new.account_id, now(), new.allocated_capital, new.capital_currency)
  on conflict (strategy_id, account_id, valid_from)
    do update set amount = excluded.amount, currency = excluded.currency;
  return null;
end $$;
create trigger strategy_capital_added after insert on strategy_accounts
  for each row execute function record_strategy_capital();
create trigger strategy_capital_changed after update of allocated_capital, capital_currency on strategy_accounts
  for each row
  when ((old.allocated_capital, old.capital_currency) is distinct from (new.allocated_capital, new.capital_currency))
  execute function record_strategy_capital();

-- Π(1 + r), rounded at 40 decimals at each step. Null returns are left out.
create function compound(total numeric, daily_return numeric) returns numeric language sql immutable strict as $$
  select round(total * (1 + daily_return), 40)
$$;
create aggregate compounded(numeric) (sfunc = compound, stype = numeric, initcond = '1');

-- The next run of calculate_daily_performance computes all days again, with compounded returns.
update strategy_performance set computed_at = '2000-01-01';
delete from performance_progress;

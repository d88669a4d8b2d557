-- The first moment of a day in a time zone, also where a clock change skips midnight or has it twice: a wall-clock time
-- that comes twice is taken for its second occurrence by `at time zone`.
create function day_begin(day date, zone text) returns timestamptz language sql stable as $$
  select (day::timestamp at time zone zone) - case
    when (((day::timestamp at time zone zone) - interval '1 hour') at time zone zone)::date >= day then interval '1 hour'
    else interval '0'
  end
$$;

-- daily_pnl and cumulative_pnl are net: realised less fees (funding is not read). Play money is never added to money:
-- what a strategy does on testnets has rows of its own.
alter table strategy_performance
  add column is_testnet boolean not null default false,
  -- Executions whose fee nobody could value: missing in fees.
  add column fees_unknown integer not null default 0,
  drop constraint strategy_performance_pkey,
  add primary key (strategy_id, date, currency, is_testnet);

-- realized_pnl is gross, with fees beside it. unrealized_pnl is as of the end of the day: null when a day is completed
-- too late to know.
alter table daily_account_summaries
  add column fees_unknown integer not null default 0,
  alter column unrealized_pnl drop not null;
create index daily_account_summaries_date on daily_account_summaries (date);
create index daily_account_summaries_open on daily_account_summaries (date) where not is_final;

-- Executions recorded up to here are in strategy_performance: one row, once a run has gone through.
create table performance_progress (
  is_only boolean primary key default true check (is_only),
  recorded_until timestamptz not null
);

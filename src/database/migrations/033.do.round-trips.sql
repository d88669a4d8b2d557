-- By how much an execution changes the quantity held: a spot fee in the base asset lowers it.
create function quantity_change(
  market_type text, side text, quantity numeric, fee numeric, fee_asset text, base text
) returns numeric language sql immutable as $$
  select case when side = 'BUY' then quantity else -quantity end
    - case when market_type = 'SPOT' and fee_asset = base then fee else 0 end
$$;

-- The result of the round trip that an execution ends, net of fees and without funding, and when that round trip was
-- opened. Null when the execution ends none.
alter table trade_executions add column round_trip_pnl numeric, add column round_trip_opened_at timestamptz;

-- The executions of a position since a time that end a round trip, or did: each with its result, null when it ends none.
-- A round trip is from flat to flat. An execution that crosses zero ends one and opens the next: each has the part of its
-- fee by quantity, rounded at 20 decimals for the first, and the rest for the second.
create function round_trips(of_account bigint, of_market text, of_symbol text, of_side text, since timestamptz)
  returns table (execution_id bigint, pnl numeric, opened_at timestamptz) rows 10 language sql stable as $$
  select line.execution_id, trip.pnl, trip.opened_at
  from (
    select e.*, quantity_change(e.market_type, e.side, e.quantity, e.fee, e.fee_asset, e.base) as change
    from trade_executions e
    where e.strategy_account_id = of_account and e.market_type = of_market and e.symbol = of_symbol
      and e.position_side = of_side and e.executed_at >= since
      and (e.realized_pnl is not null or e.round_trip_pnl is not null)
  ) line
  left join lateral (
    select opening.executed_at as opened_at, result.pnl
    from (
      select s.execution_id, s.executed_at, s.exchange_trade_id, s.order_id
      from trade_executions s
      cross join lateral (
        select quantity_change(s.market_type, s.side, s.quantity, s.fee, s.fee_asset, s.base) as change
      ) changed
      where s.strategy_account_id = of_account and s.market_type = of_market and s.symbol = of_symbol
        and s.position_side = of_side and s.executed_at <= line.executed_at
        and (s.executed_at, length(s.exchange_trade_id), s.exchange_trade_id collate "C", s.order_id)
          < (line.executed_at, length(line.exchange_trade_id), line.exchange_trade_id collate "C", line.order_id)
        and sign(s.quantity_before + changed.change) not in (0, sign(s.quantity_before))
      order by s.executed_at desc, length(s.exchange_trade_id) desc, s.exchange_trade_id collate "C" desc, s.order_id desc
      limit 1
    ) opening
    cross join lateral (
      select sum(
        case when m.execution_id = opening.execution_id then 0 else coalesce(m.realized_pnl, 0) end
        - case
          when sign(m.quantity_before) * sign(m.quantity_before + changed.change) >= 0 then coalesce(m.fee_value, 0)
          when m.execution_id = opening.execution_id then coalesce(m.fee_value, 0) - changed.closing_fee
          else changed.closing_fee
        end
      ) as pnl
      from trade_executions m
      cross join lateral (
        select change, round(
          round(coalesce(m.fee_value, 0) * abs(m.quantity_before), 40) / nullif(abs(change), 0), 20
        ) as closing_fee
        from (select quantity_change(m.market_type, m.side, m.quantity, m.fee, m.fee_asset, m.base)) c (change)
      ) changed
      where m.strategy_account_id = of_account and m.market_type = of_market and m.symbol = of_symbol
        and m.position_side = of_side and m.executed_at between opening.executed_at and line.executed_at
        and (m.executed_at, length(m.exchange_trade_id), m.exchange_trade_id collate "C", m.order_id)
          between (opening.executed_at, length(opening.exchange_trade_id), opening.exchange_trade_id collate "C", opening.order_id)
          and (line.executed_at, length(line.exchange_trade_id), line.exchange_trade_id collate "C", line.order_id)
    ) result
    where line.quantity_before <> 0 and sign(line.quantity_before + line.change) <> sign(line.quantity_before)
  ) trip on true
$$;

-- trades, wins, losses and win_rate count round trips, executions counts executions. Until the next run of
-- calculate_daily_performance the trades of a day that was computed before are its closing executions.
alter table daily_account_summaries add column executions integer not null default 0;
update daily_account_summaries
set executions = trades, trades = case when win_rate is null then 0 when wins > 0 then round(wins / win_rate)::int else losses end;
alter table strategy_performance add column executions integer not null default 0;
update strategy_performance
set executions = trades, trades = case when win_rate is null then 0 when wins > 0 then round(wins / win_rate)::int else trades end;

-- With the time of now the days are computed again.
update trade_executions e
set round_trip_pnl = trip.pnl, round_trip_opened_at = trip.opened_at, recorded_at = now()
from strategy_positions p
cross join lateral round_trips(p.strategy_account_id, p.market_type, p.symbol, p.position_side, '-infinity') trip
where e.execution_id = trip.execution_id and trip.pnl is not null;

-- What the order-entry side writes is checked from here on.
update orders set exchange_order_id = null where exchange_order_id = '';
alter table orders
  add constraint orders_own_of_strategy check (origin <> 'own' or strategy_account_id is not null),
  add constraint orders_exchange_order_id_check check (exchange_order_id <> '');
alter table strategy_accounts
  add constraint strategy_accounts_capital_finite check (allocated_capital < 'Infinity') not valid;

-- No check: it would also reject the next state of an order that was inserted before. NaN is above infinity.
create function reject_infinite_amounts() returns trigger language plpgsql as $$
begin
  raise exception 'quantity, price and stop_price of an order are finite' using errcode = 'check_violation', table = 'orders';
end $$;
create trigger reject_infinite_amounts before insert on orders
  for each row when (
    new.quantity >= 'Infinity' or abs(new.price) >= 'Infinity' or abs(new.stop_price) >= 'Infinity'
  )
  execute function reject_infinite_amounts();

-- Notifications for the order-entry side and reports. They are sent at the commit, and can be missed: behind each is a poll.

-- One notification for each statement that records or removes executions.
create function notify_executions() returns trigger language plpgsql as $$
declare
  payload text;
begin
  select json_build_object(
    'event', case tg_op when 'INSERT' then 'recorded' else 'removed' end,
    'rows', count(*),
    'first_execution_id', min(execution_id)::text,
    'last_execution_id', max(execution_id)::text,
    -- A payload has at most 8,000 bytes.
    'account_ids', case when count(distinct account_id) <= 100 then json_agg(distinct account_id::text) end
  )::text into payload
  from changed having count(*) > 0;
  if payload is not null then perform pg_notify('trading_executions', payload); end if;
  return null;
end $$;
create trigger notify_recorded_executions after insert on trade_executions
  referencing new table as changed for each statement execute function notify_executions();
create trigger notify_removed_executions after delete on trade_executions
  referencing old table as changed for each statement execute function notify_executions();

-- One notification for each transaction, without a payload: equal ones of a transaction are one. A trigger of these columns
-- costs the statements nothing that only record the time of a check.
create function notify_order_states() returns trigger language plpgsql as $$
begin
  perform pg_notify('trading_order_states', '');
  return null;
end $$;
create trigger notify_order_states after update of status, filled_quantity, error_code on orders
  for each statement execute function notify_order_states();

-- The id of an own order is set once, and while the order may still be checked: under another id it would be booked with the
-- executions of another order, and an ended one would be booked never.
create function protect_exchange_order_id() returns trigger language plpgsql as $$
begin
  raise exception 'the exchange order id of order % cannot be changed: %', old.order_id,
    case when old.exchange_order_id is null then 'the order has ended, insert another row' else 'it has one' end
    using errcode = 'check_violation', table = 'orders', column = 'exchange_order_id';
end $$;
create trigger protect_exchange_order_id before update of exchange_order_id on orders
  for each row when (
    old.origin = 'own' and new.exchange_order_id is distinct from old.exchange_order_id
    and (old.exchange_order_id is not null or old.status <> 'pending')
  )
  execute function protect_exchange_order_id();

-- The order-entry side has no right to change states. What it knows alone is that an order never reached the exchange.
create function end_unsent_order(id bigint, final_status text, reason text default null) returns boolean
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  with ended as (
    update orders set status = final_status, error_code = reason, updated_at = now()
    where order_id = id and origin = 'own' and exchange_order_id is null and status = 'pending'
      and final_status in ('rejected', 'canceled', 'expired')
    returning 1
  )
  select exists (select from ended);
end;
revoke all on function end_unsent_order from public;

comment on function end_unsent_order(bigint, text, text) is 'Ends a pending order that the order-entry side recorded and that has no id of the exchange. Arguments: order_id; rejected, canceled or expired; error code. Returns whether it ended the order.';
comment on function notify_executions() is 'Trigger of trade_executions: a notification on the channel trading_executions.';
comment on function notify_order_states() is 'Trigger of orders: a notification on the channel trading_order_states.';
comment on function protect_exchange_order_id() is 'Trigger of orders: the id of an own order is set once, and only while it is pending.';
comment on function reject_infinite_amounts() is 'Trigger of orders: quantity, price and stop_price are finite.';

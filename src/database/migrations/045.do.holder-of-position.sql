-- Version 0.1.0 joins strategy_positions with strategy_accounts and names account_id without its table, which a second
-- column of that name makes ambiguous. During a roll-out, and after a roll-back, its statements must work.
alter table strategy_positions rename column account_id to holder_account_id;
create or replace function account_of_position() returns trigger language plpgsql as $$
begin
  select account_id into new.holder_account_id from strategy_accounts
  where strategy_account_id = new.strategy_account_id;
  return new;
end $$;

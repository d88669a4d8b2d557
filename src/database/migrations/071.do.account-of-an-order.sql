-- The account of an order is that of its strategy account: otherwise a strategy would show, and book, the orders of an account
-- of somebody else. Of rows that exist only those are checked that change these columns.
alter table strategy_accounts
  add constraint strategy_accounts_id_and_account unique (strategy_account_id, account_id);
alter table orders
  add constraint orders_account_of_strategy foreign key (strategy_account_id, account_id)
  references strategy_accounts (strategy_account_id, account_id) not valid;

-- A time that no date of JavaScript and no text of four digits of a year has would end every reading of the orders of its account.
create function reject_impossible_times() returns trigger language plpgsql as $$
begin
  raise exception 'created_at of an order is of the years 1 to 9999' using errcode = 'check_violation', table = 'orders';
end $$;
create trigger reject_impossible_times before insert on orders
  for each row when (new.created_at not between '0001-01-02' and '9999-12-30')
  execute function reject_impossible_times();
comment on function reject_impossible_times() is
  'Rejects an order whose created_at is infinite or outside of the years 1 to 9999.';

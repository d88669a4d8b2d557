-- As before, and also right when another transaction inserts a total at the same time: only totals whose row is locked are
-- set to the sums. A total without a row is inserted as zero first, which waits for a transaction that inserts it. Repeats
-- until the rows of all sums are locked.
create or replace function recount_books(of_accounts bigint[]) returns void language plpgsql as $$
declare
  locked book_totals[];
  sums book_totals[];
begin
  loop
    with held as materialized (
      select * from book_totals where account_id = any (of_accounts)
      order by account_id, wallet, asset, source for update
    )
    select array_agg(held::book_totals) into locked from held;
    select array_agg(row(s.account_id, s.wallet, s.asset, s.source, s.amount, s.rounded)::book_totals) into sums
    from book_sums(of_accounts) s;
    exit when not exists (
      select account_id, wallet, asset, source from unnest(sums)
      except select account_id, wallet, asset, source from unnest(locked)
    );
    insert into book_totals (account_id, wallet, asset, source, amount)
    select account_id, wallet, asset, source, 0 from unnest(sums)
    order by account_id, wallet, asset, source
    on conflict do nothing;
  end loop;
  update book_totals t set amount = coalesce(s.amount, 0), rounded = coalesce(s.rounded, 0)
  from unnest(locked) l left join unnest(sums) s using (account_id, wallet, asset, source)
  where t.account_id = l.account_id and t.wallet = l.wallet and t.asset = l.asset and t.source = l.source
    and (t.amount <> coalesce(s.amount, 0) or t.rounded <> coalesce(s.rounded, 0));
end $$;

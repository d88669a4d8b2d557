-- The role of each user. Earlier versions write is_admin alone and this one writes role alone: the trigger keeps both equal.
alter table users add column role text not null default 'user' check (role in ('admin', 'viewer', 'user'));
update users set role = 'admin' where is_admin;
create function users_role() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    if new.is_admin and new.role = 'user' then new.role := 'admin'; end if;
  elsif new.role = old.role and new.is_admin <> old.is_admin then
    new.role := case when new.is_admin then 'admin' else 'user' end;
  end if;
  new.is_admin := new.role = 'admin';
  return new;
end $$;
create trigger users_role before insert or update on users for each row execute function users_role();

-- What changes rows of audit_log, apart from inserts. The role of the service needs no other right to change or delete
-- them: deploy/postgres/roles.sql. The bodies are parsed here, so that the search path of a caller has no effect.

-- Adds attempts to a row that counts them and is not older. Returns whether there is one.
create function count_audited_attempts(id bigint, more integer, newer_than interval) returns boolean
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  with counted as (
    update audit_log set details = jsonb_set(details, '{attempts}', to_jsonb((details->>'attempts')::integer + more))
    where audit_id = id and more > 0 and at > now() - newer_than and outcome = 'refused'
      and jsonb_typeof(details->'attempts') = 'number'
    returning 1
  )
  select exists (select from counted);
end;

-- Deletes up to a number of rows older than 400 days, the oldest first. Returns how many.
create function delete_old_audit_rows(at_most integer) returns integer
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  with deleted as (
    delete from audit_log where audit_id in (
      select audit_id from audit_log where at < now() - interval '400 days'
      order by at limit at_most for update skip locked
    )
    returning 1
  )
  select count(*)::integer from deleted;
end;

revoke all on function count_audited_attempts, delete_old_audit_rows from public;

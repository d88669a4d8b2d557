-- The opening of a round trip is searched for the executions that end one, and for no others: an execution that closes a
-- part of a long round trip would read all of it.
do $do$
declare
  name text;
begin
  foreach name in array array['round_trips', 'round_trips_of_account'] loop
    execute replace(
      pg_get_functiondef(name::regproc), 's.executed_at <= line.executed_at',
      's.executed_at <= line.executed_at and line.quantity_before <> 0'
        || ' and sign(line.quantity_before + line.change) <> sign(line.quantity_before)'
    );
  end loop;
end $do$;

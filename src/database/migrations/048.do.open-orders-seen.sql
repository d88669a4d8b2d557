-- Where an exchange lists closed orders by their creation only: the old orders that were open, by their ids, with the time at
-- which they were not open any more, in milliseconds, or null. Their fills are read until that time.
alter table fill_readings add column open_orders jsonb not null default '{}';

-- The wallets of an account that were empty at the last reading for the first time, although something is recorded in them:
-- the next reading confirms it.
alter table balance_readings add column emptied jsonb not null default '[]';

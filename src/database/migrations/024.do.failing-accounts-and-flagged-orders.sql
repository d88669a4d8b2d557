-- The accounts that the last run of a job could not read, with the time of the first of its runs in a row that could not.
create table account_failures (
  account_id bigint not null references accounts,
  job_id text not null,
  since timestamptz not null default now(),
  error_code text not null,
  primary key (account_id, job_id)
);

-- Since when an order is unknown to its exchange, or contradicted by its exchange; null while it is neither.
alter table orders add column flagged_at timestamptz;
update orders set flagged_at = updated_at where status = 'unknown' or mismatch_checks >= 3;
create index orders_flagged on orders (flagged_at) where flagged_at is not null;

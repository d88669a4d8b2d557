-- Whether this replica may run scheduled jobs. Versions before this one did not say so: they may.
alter table replicas add column runs_jobs boolean not null default true;

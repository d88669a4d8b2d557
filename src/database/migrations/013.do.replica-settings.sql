-- The settings that all replicas must share, as this one has them. Secrets are fingerprints.
alter table replicas add column settings jsonb;

-- Until when the exchange was asked for the ledger of a wallet: all entries before this time are recorded, except those that
-- were pending or could not be read. They hold read_until. Null before the first reading by a version that writes it.
alter table ledger_readings add column listed_until timestamptz;

-- The pairs and linear perpetuals that the exchanges list. Their rows stay after they are delisted: orders and positions
-- refer to base, quote and contract size.
create table instruments (
  exchange text not null,
  market_type text not null check (market_type in ('SPOT', 'FUTURES')),
  exchange_symbol text not null,
  symbol text not null,
  base text not null,
  quote text not null,
  -- Base units per unit of quantity at the exchange.
  contract_value numeric not null check (contract_value > 0),
  price_step numeric,
  quantity_step numeric,
  trading boolean not null,
  read_at timestamptz not null,
  primary key (exchange, market_type, exchange_symbol)
);

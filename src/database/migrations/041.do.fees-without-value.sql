-- Executions whose fee has no value yet, although its asset is known: calculate_unrealized_pnl tries again.
create index trade_executions_without_fee_value on trade_executions (execution_id)
  where fee_value is null and fee_asset is not null;

// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../../accounts/account-table.ts'
import { userIdOfName } from '../../auth/user-table.ts'
import type { TransactionSql } from '../../database/client.ts'
import type { Fragment } from './column.ts'

/** Whose rows: those of one user, by id or by name without regard to case; undefined: everyone's. */
export type Owner = { userId: string } | { username: string } | undefined

/** The part of the filter that selects accounts and strategies. */
export interface Selection {
  owner: Owner
  accountId?: string | undefined
  strategyId?: string | undefined
}

/** The rows whose `column` is one of `ids`: a subquery with the column `id`. */
export interface Partition {
  column: string
  ids: Fragment
}

/** Makes the partition of a selection; undefined for all rows, which are then read by an index over all of them. */
export type Scope = (tx: TransactionSql, selection: Selection) => Partition | undefined

/** The rows of accounts. */
export function ofAccounts(column = 'account_id'): Scope {
  return (tx, { owner, accountId }) => {
    if (owner === undefined && accountId === undefined) return undefined
    return {
      column,
      ids: tx`
        select account_id as id from ${accountsWithoutCredentials(tx)} a
        where ${isOwnedBy(tx, owner)} ${accountId === undefined ? tx`` : tx`and account_id = ${accountId}`}`
    }
  }
}

/** The rows of strategies. */
export function ofStrategies(column = 'strategy_id'): Scope {
  return (tx, { owner, strategyId }) => {
    if (owner === undefined && strategyId === undefined) return undefined
    return {
      column,
      ids: tx`
        select strategy_id as id from strategies
        where ${isOwnedBy(tx, owner)} ${strategyId === undefined ? tx`` : tx`and strategy_id = ${strategyId}`}`
    }
  }
}

/** The rows of accounts, or with a strategy those of the strategy on these accounts. */
export function ofAccountsAndStrategies(accounts = 'account_id', column = 'strategy_account_id'): Scope {
  return (tx, selection) => {
    const { strategyId } = selection
    const partition = ofAccounts(accounts)(tx, selection)
    if (strategyId === undefined) return partition
    return {
      column,
      ids: tx`
        select strategy_account_id as id from strategy_accounts
        where strategy_id = ${strategyId} ${partition === undefined ? tx`` : tx`and account_id in (${partition.ids})`}`
    }
  }
}

function isOwnedBy(tx: TransactionSql, owner: Owner): Fragment {
  if (owner === undefined) return tx`true`
  return tx`user_id = ${'userId' in owner ? owner.userId : userIdOfName(tx, owner.username)}`
}

import type { Sql, TransactionSql } from '../database/client.ts'

/**
 * A subquery: `user_id`, `username` and `chat_id` of each user, for statements of other modules that join their tables with
 * users. `chat_id` is the Telegram chat that receives the user's summaries; null for a disabled user and without a chat.
 */
export function usersWithChats(sql: Sql | TransactionSql) {
  return sql`(select user_id, username, case when is_active then telegram_chat_id end as chat_id from users)`
}

/** Which of these Telegram chats (numbers) belong to active users. @throws {DatabaseUnavailableError} */
export async function chatsOfUsers(sql: Sql | TransactionSql, chatIds: readonly string[]): Promise<Set<string>> {
  const rows = await sql<{ chat_id: string }[]>`
    select distinct chat_id from ${usersWithChats(sql)} u where chat_id = any (string_to_array(${chatIds.join(',')}, ','))`
  return new Set(rows.map(({ chat_id }) => chat_id))
}

/** The id of a user by name, without regard to case; undefined when there is none. */
export async function userIdOf(tx: TransactionSql, username: string): Promise<string | undefined> {
  const [user] = await tx<{ user_id: string }[]>`select user_id from users where lower(username) = lower(${username})`
  return user?.user_id
}

/** A subquery: the id of a user by name, without regard to case; null when there is none. */
export function userIdOfName(sql: Sql | TransactionSql, username: string) {
  return sql`(select user_id from users where lower(username) = lower(${username}))`
}

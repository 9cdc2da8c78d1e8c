/** What a user can cause: one line that says what was found, what is right and what to do. */
export class UserError extends Error {}

/** The line for what went wrong. */
export function lineOf(error: unknown): string {
  if (error instanceof UserError) return error.message;
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return `${text.split("\n")[0].slice(0, 300)} - a fault of this page; please report it.`;
}

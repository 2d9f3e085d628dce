/** Variables of the environment in a text, in the form that shells and Compose files have. */

const form = /\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\{[^}]*\}?)/g;

/**
 * `${NAME}` is the value of a variable, `${NAME:-default}` has one for a variable that is not set or empty, `$$` is a
 * dollar. Any other dollar stands for itself. `refuse` throws what is wrong: a variable that is not set, a form that there is not.
 */
export function expandVariables(
  text: string,
  env: Readonly<Record<string, string | undefined>>,
  refuse: (problem: string) => never,
): string {
  return text.replace(form, (written: string, name: string | undefined, fallback: string | undefined) => {
    if (written === '$$') return '$';
    if (name === undefined)
      return refuse(`${written} is no variable: write \${NAME} or \${NAME:-default}, and $$ for a dollar`);
    const value = env[name];
    if (fallback !== undefined) return value === undefined || value === '' ? fallback : value;
    return value ?? refuse(`the variable ${name} is not set: set it, or write \${${name}:-default}`);
  });
}

/** The text that `expandVariables` reads as this one. */
export function escapeDollars(text: string): string {
  return text.replace(/\$(?=[${])/g, '$$$$');
}

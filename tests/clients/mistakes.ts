// Each line after a `@ts-expect-error` is a mistake. The compiler fails if the generated types let one pass.

import type { components, paths } from "./enrol.js";

type Schemas = components["schemas"];

// @ts-expect-error: no password
export const incomplete: Schemas["NewUser"] = { email: "ada@example.com" };

// @ts-expect-error: no such field
export const misspelt: Schemas["UserChanges"] = { emial: "ada@example.com" };

// @ts-expect-error: no such role
export const king: Schemas["UserChanges"] = { global_role_id: "role_king" };

// @ts-expect-error: no such path
export type Elsewhere = paths["/v2/user/"];

export function read(user: Schemas["User"], taken: Schemas["UserAlreadyExists"]) {
  // @ts-expect-error: the name may be null
  user.first_name.trim();
  // @ts-expect-error: the id may be absent
  taken.details.user_id.trim();
  // @ts-expect-error: no such code
  return taken.code === "USER_EXISTS";
}

export function readAll(error: Schemas["ValidationFailed"] | Schemas["InvalidParameter"]) {
  // @ts-expect-error: only one of the two has it
  return error.details.errors;
}

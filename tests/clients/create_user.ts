// Creates a user with the types that are generated from openapi.json, and reads the errors by their codes.

import type { components, paths } from "./enrol.js";

type NewUser = components["schemas"]["NewUser"];
type User = components["schemas"]["User"];
type Responses = paths["/v1/user/"]["post"]["responses"];
type Body<Status extends keyof Responses> = Responses[Status]["content"]["application/json"];

export async function createUser(url: string, key: string, user: NewUser): Promise<User> {
  const response = await fetch(`${url}/v1/user/`, {
    method: "POST",
    headers: { "X-API-Key": key, "Content-Type": "application/json" },
    body: JSON.stringify(user),
  });
  if (response.status === 201) {
    const created: Body<201> = await response.json();
    return created;
  }
  const { error }: Body<400 | 401 | 409 | 422 | 503> = await response.json();
  throw new Error(`${error.code}: ${advice(error)} (${error.trace_id})`);
}

function advice(error: Body<400 | 401 | 409 | 422 | 503>["error"]): string {
  switch (error.code) {
    case "USER_ALREADY_EXISTS":
      return `this is ${error.details.user_id ?? "a user whom your key may not see"}`;
    case "INVALID_JSON":
      return error.details.line === undefined ? error.message : `look at line ${error.details.line}`;
    case "SERVICE_UNAVAILABLE":
      return error.details.outcome === "unknown" ? "repeat it under the same key" : "try again";
    case "API_KEY_EXPIRED":
    case "API_KEY_DEACTIVATED":
    case "AUTHENTICATION_REQUIRED":
    case "IDEMPOTENCY_KEY_REUSED":
    case "INVALID_PARAMETER":
    case "OVERLOADED":
    case "UNTRUSTED_HOST":
      return error.message;
    default: // a field's own code, or that of several
      return error.details.errors.map((one) => `${one.field}: ${one.message}`).join(", ");
  }
}

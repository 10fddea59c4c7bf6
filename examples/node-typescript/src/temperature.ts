import { z } from "zod";

const zeroCelsius = 273.15;

/** What the query of a request has to look like. */
export const Query = z.object({
  celsius: z.coerce.number().min(-zeroCelsius, "colder than absolute zero"),
});

export type Query = z.infer<typeof Query>;

/** The same temperature on the other scales, to a hundredth of a degree. */
export function convert({ celsius }: Query) {
  const round = (degrees: number) => Math.round(degrees * 100) / 100;
  return {
    celsius,
    fahrenheit: round((celsius * 9) / 5 + 32),
    kelvin: round(celsius + zeroCelsius),
  };
}

// Nothing that goes wrong here may reach the page.

/** Returns `work` as a function that never throws, and whose promise nobody need handle. */
export function guarded<Arguments extends unknown[], Result>(
  work: (...given: Arguments) => Result,
): (...given: Arguments) => Result | undefined {
  return (...given) => {
    try {
      const result: any = work(...given);
      result?.catch?.(() => {});
      return result;
    } catch {
      return undefined;
    }
  };
}

export function on(target: EventTarget, type: string, work: (event: any) => unknown): void {
  target.addEventListener(type, guarded(work));
}

/** Returns a random UUID. `crypto.randomUUID` exists on secure pages alone. */
export function uuid(): string {
  return "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (digit) =>
    (+digit ^ (crypto.getRandomValues(new Uint8Array(1))[0]! & (15 >> (+digit / 4)))).toString(16),
  );
}

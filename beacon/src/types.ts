/** What a page may pass with an event. */
export interface Options {
  /** Custom properties, at most 30. */
  props?: Record<string, string | number | boolean>;
  /** What the event is worth: an ISO 4217 currency and an amount in it. */
  revenue?: { currency: string; amount: number | string };
  /** false: the event does not turn a bounce into a visit of interest. */
  interactive?: boolean;
  /** The address to count instead of the page's own. */
  url?: string;
  /** Called once, after the event was delivered, given up or not sent at all. */
  callback?: (result: Result) => void;
}

/** How it went: the answer's status (0 where the browser hides it), or why it failed. */
export interface Result {
  status?: number;
  error?: unknown;
}

/** window.footfall; before the script has loaded, the stub that queues calls in q. */
export interface Footfall {
  (name: string, options?: Options): void;
  q?: [string, Options?][];
  v?: number;
}

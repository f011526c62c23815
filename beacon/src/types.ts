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
  /** Called once, after the event was delivered, given up, held back or not sent at all. */
  callback?: (result: Result) => void;
}

/** How it went: the answer's status (0 where the browser hides it), or why it failed. */
export interface Result {
  status?: number;
  error?: unknown;
}

/** What a reader may choose. */
export type Choice = 'optout' | 'consent';

/** window.footfall; before the script has loaded, the stub that queues calls in q. */
export interface Footfall {
  (name: string, options?: Options): void;
  /** The same as the methods below, for the stub. */
  (choice: Choice, on: boolean): void;
  /** true: this browser is not counted any more. false: it is again. */
  optout(out: boolean): void;
  /** true: the reader consents to being counted, and to the cookie if the site uses one. false: not, or not any more. */
  consent(given: boolean): void;
  q?: [any, any?][];
  v?: number;
}

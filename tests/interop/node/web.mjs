// Node's fetch: what a page of a browser does.
import { createHash } from 'node:crypto';
import { serve } from './driver.mjs';

serve({
  async fetch({ url, method, headers, body }) {
    const answer = await fetch(url, { method, headers, body });
    const bytes = Buffer.from(await answer.arrayBuffer());
    return {
      status: answer.status,
      encoding: answer.headers.get('content-encoding'),
      type: answer.headers.get('content-type'),
      sha256: createHash('sha256').update(bytes).digest('hex'),
    };
  },
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Html, html } from '../../src/metrics/html.ts';

/** The formatter reformats templates tagged `html`, so the tag has another name here. */
const markup = html;

describe('html``', () => {
  it('escapes strings, in text and in attributes', () => {
    const evil = `<script>'"&`;
    assert.equal(
      markup`<p title="${evil}">${evil}</p>`.text,
      '<p title="&lt;script&gt;&#39;&quot;&amp;">&lt;script&gt;&#39;&quot;&amp;</p>',
    );
  });

  it('keeps Html, concatenates lists, and leaves out undefined', () => {
    const items = ['a', '<'].map((item) => html`<li>${item}</li>`);
    assert.equal(
      markup`<ul>${items}</ul>${undefined}${7}${new Html('<br>')}`.text,
      '<ul><li>a</li><li>&lt;</li></ul>7<br>',
    );
  });
});

import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, it } from 'node:test';
import { LiveScreen } from './live-screen.ts';

class Screen extends EventEmitter {
  columns = 20;
  rows = 5;
  written = '';
  write(text: string): void {
    this.written += text;
  }
  take(): string {
    const { written } = this;
    this.written = '';
    return written.replaceAll('\u001b[', '^');
  }
}

class Process extends EventEmitter {
  readonly pid = 1;
  readonly killed: string[] = [];
  kill(_pid: number, signal: string): void {
    this.killed.push(signal);
  }
}

function open(): { terminal: Screen; events: Process; screen: LiveScreen } {
  const terminal = new Screen();
  const events = new Process();
  return { terminal, events, screen: new LiveScreen(terminal, events) };
}

describe('LiveScreen', () => {
  it('draw() writes only the lines that changed', () => {
    const { terminal, screen } = open();
    screen.draw(() => ['one', 'two']);
    assert.match(terminal.take(), /\^\?1049h\^\?25l.*\^1;1Hone\^K\^2;1Htwo\^K/);
    screen.draw(() => ['one', 'TWO']);
    assert.equal(terminal.take(), '^?2026h^2;1HTWO^K^?2026l');
    screen.draw(() => ['one', 'TWO']);
    assert.equal(terminal.take(), '');
    screen.draw(() => ['one']);
    assert.equal(terminal.take(), '^?2026h^2;1H^K^?2026l');
  });

  it('draw() leaves the last character of a full line alone', () => {
    const { terminal, screen } = open();
    screen.draw(() => [`\u001b[2m${'x'.repeat(20)}\u001b[0m`]);
    assert.ok(terminal.take().endsWith(`${'x'.repeat(20)}^0m^?2026l`));
  });

  it('draw() shows how many lines do not fit', () => {
    const { terminal, screen } = open();
    screen.draw(() => ['1', '2', '3', '4', '5', '6', '7']);
    assert.match(terminal.take(), /\^4;1H4\^K\^5;1H… 3 more lines\^K/);
  });

  it('draw() renders again after a resize', () => {
    const { terminal, screen } = open();
    screen.draw((columns) => [`${columns}`]);
    terminal.take();
    terminal.columns = 40;
    terminal.emit('resize');
    assert.equal(terminal.take(), '^2J^?2026h^1;1H40^K^?2026l');
  });

  it('close() restores the terminal once and leaves the last picture', () => {
    const { terminal, events, screen } = open();
    screen.draw(() => ['one']);
    terminal.take();
    screen.close();
    assert.equal(terminal.take(), '^?7h^?25h^?1049lone\n');
    screen.close();
    assert.equal(terminal.take(), '');
    assert.deepEqual([terminal.eventNames(), events.eventNames()], [[], []]);
  });

  it('restores the terminal when the process exits', () => {
    const { terminal, events, screen } = open();
    screen.draw(() => ['one']);
    terminal.take();
    events.emit('exit');
    assert.equal(terminal.take(), '^?7h^?25h^?1049l');
  });

  it('restores the terminal and forwards a signal without a handler', () => {
    const { terminal, events, screen } = open();
    screen.draw(() => ['one']);
    terminal.take();
    events.emit('SIGTERM');
    assert.equal(terminal.take(), '^?7h^?25h^?1049l');
    assert.deepEqual(events.killed, ['SIGTERM']);
  });

  it('leaves a signal to its handler', () => {
    const { terminal, events, screen } = open();
    events.on('SIGINT', () => undefined);
    screen.draw(() => ['one']);
    terminal.take();
    events.emit('SIGINT');
    assert.equal(terminal.take(), '');
    assert.deepEqual(events.killed, []);
  });
});

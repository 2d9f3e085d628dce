'use strict';
// Asks every second what there is and shows it. What comes from elsewhere is only ever text, never markup.
(() => {
  const seconds = 120;
  const byId = (id) => document.getElementById(id);
  /** What was seen, a number a second: in all, and the bytes of each rule and of each of its destinations. */
  const series = { connections: [], in: [], out: [] };
  const ofRule = new Map();
  let before = null;
  let isPaused = false;
  let token = sessionStorage.getItem('grace-token');
  let answeredAt = null;

  const text = (node, value) => {
    if (node.textContent !== value) node.textContent = value;
  };
  const element = (name, { className, role, label } = {}) => {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (role) node.setAttribute('role', role);
    if (label) node.dataset.label = label;
    return node;
  };
  const counted = (count, noun) => `${count} ${noun}${count === 1 ? '' : 's'}`;

  /** Powers of 1000, as grace ls has them. */
  const size = (bytes) => {
    const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
    let value = bytes;
    let unit = 0;
    for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000;
    return `${value.toFixed(unit > 0 && value < 9.95 ? 1 : 0)} ${units[unit]}`;
  };
  const duration = (ms) => {
    const s = Math.max(0, Math.floor(ms / 1000));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
  };
  const clock = (iso) => {
    const date = new Date(iso);
    const isToday = date.toDateString() === new Date().toDateString();
    return isToday ? date.toLocaleTimeString() : date.toLocaleString();
  };

  const svgPart = (svg, className) => {
    const found = svg.querySelector(`.${className}`);
    if (found) return found;
    const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    path.setAttribute('class', className);
    return svg.appendChild(path);
  };
  /** The last two minutes as a line over an area, the newest on the right. */
  const draw = (svg, values, format, what) => {
    const [, , width, height] = svg.getAttribute('viewBox').split(' ').map(Number);
    const most = Math.max(1, ...values);
    const at = (index) => width - ((values.length - 1 - index) * width) / (seconds - 1);
    const points = values.map((value, index) => {
      const y = height - 1 - (value / most) * (height - 3);
      return `${at(index).toFixed(1)} ${y.toFixed(1)}`;
    });
    const line = points.length === 0 ? '' : `M${points.join('L')}`;
    svgPart(svg, 'area').setAttribute('d', line && `${line}L${width} ${height}L${at(0).toFixed(1)} ${height}Z`);
    svgPart(svg, 'line').setAttribute('d', line);
    const now = values.at(-1) ?? 0;
    svg.setAttribute('aria-label', `${what}: now ${format(now)}, at most ${format(Math.max(0, ...values))}`);
  };
  const push = (list, value) => {
    list.push(value);
    if (list.length > seconds) list.shift();
  };
  const perSecond = (bytes) => `${size(bytes)}/s`;

  /** The rows of a table's body by their keys; those that are there stay, so that neither focus nor a reader's place is lost. */
  const rowsIn = (body, keys, make) => {
    const known = new Map([...body.children].map((row) => [row.dataset.key, row]));
    keys.forEach((key, index) => {
      let row = known.get(key);
      if (!row) {
        row = make();
        row.dataset.key = key;
      }
      known.delete(key);
      if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
    });
    for (const row of known.values()) row.remove();
    return [...body.children];
  };
  const makeRow = (labels) => () => {
    const row = element('tr', { role: 'row' });
    labels.forEach((label, index) => {
      const isNumber = ['Connections', 'In', 'Out'].includes(label);
      const cell =
        index === 0
          ? element('th', { role: 'rowheader' })
          : element('td', { role: 'cell', label, className: isNumber ? 'number' : '' });
      if (index === 0) cell.scope = 'row';
      cell.append(element('span', { className: index < 2 ? 'endpoint' : '' }));
      row.append(cell);
    });
    return row;
  };
  /** Further lines under what a cell says. */
  const say = (cell, value, lines = []) => {
    text(cell.firstChild, value);
    const more = lines.filter(([line]) => line !== undefined && line !== '');
    while (cell.childElementCount > more.length + 1 && cell.lastElementChild.matches('.sub'))
      cell.lastElementChild.remove();
    more.forEach(([line, className = ''], index) => {
      let node = cell.children[index + 1];
      if (!node) {
        node = element('span');
        cell.append(node);
      }
      node.className = `sub ${className}`;
      text(node, line);
    });
  };

  const sum = (rows, name) => rows.reduce((total, row) => total + row[name], 0);
  const keyOf = ({ src, name }) => JSON.stringify([src, name]);
  const shareOf = ({ src, name, dst }) => JSON.stringify([src, name, dst]);

  const showRules = (rows, { generations }) => {
    const serving = generations[0]?.pid;
    const shown = rows.filter((row) => row.pid === serving && (row.active || row.error !== undefined));
    const labels = ['Source', 'Destination', 'Status', 'Connections', 'In', 'Out', 'Bytes/s'];
    const keys = shown.map((row) => JSON.stringify([row.src, row.name, row.dst, row.active]));
    rowsIn(byId('rules'), keys, makeRow(labels)).forEach((node, index) => {
      const row = shown[index];
      // Where a share goes elsewhere there are two of a rule, and each has its own figures.
      const isShared = shown.some((each) => each !== row && keyOf(each) === keyOf(row));
      const all = rows.filter((each) => keyOf(each) === keyOf(row) && (!isShared || each.dst === row.dst));
      const [src, dst, status, connections, bytesIn, bytesOut, chart] = node.children;
      // What the source says of itself need not be said again.
      const isSaid = row.listening.split(/:(?=[0-9]+$)/).every((part) => row.src.includes(part));
      const place = isSaid ? '' : `listens on ${row.listening}`;
      say(src, row.name ?? row.src, [[row.name ? row.src : ''], [place]]);
      say(dst, row.dst);
      const active = row.percent === undefined ? 'active' : `active ${row.percent} %`;
      const [word, tone] = row.error !== undefined ? ['failed', 'bad'] : row.held ? ['held', 'warn'] : [active, 'good'];
      status.firstChild.className = tone;
      say(status, word, [[row.error, 'bad'], ...(row.warnings ?? []).map((warning) => [warning, 'warn'])]);
      const elsewhere = sum(all, 'connections') - row.connections;
      say(connections, String(row.connections), [[elsewhere > 0 ? `and ${elsewhere} draining` : '']]);
      say(bytesIn, size(sum(all, 'bytesIn')));
      say(bytesOut, size(sum(all, 'bytesOut')));
      let svg = chart.querySelector('svg');
      if (!svg) {
        svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
        svg.setAttribute('viewBox', '0 0 128 24');
        svg.setAttribute('preserveAspectRatio', 'none');
        svg.setAttribute('role', 'img');
        chart.replaceChildren(svg);
      }
      draw(svg, ofRule.get(isShared ? shareOf(row) : keyOf(row)) ?? [], perSecond, 'bytes per second');
    });
    byId('rules-empty').hidden = shown.length > 0;
  };

  /** Since when: that of the destination that came in its place, or of the process that did. */
  const drainsSince = (row, rows, generations) => {
    const index = generations.findIndex(({ pid }) => pid === row.pid);
    if (index > 0) return generations[index - 1].since;
    return rows.find((each) => each.active && each.src === row.src)?.since;
  };
  const showDraining = (rows, { generations }) => {
    const serving = generations[0]?.pid;
    const draining = rows.filter((row) => row.connections > 0 && (!row.active || row.pid !== serving));
    const keys = draining.map(({ src, dst, pid }) => JSON.stringify([src, dst, pid]));
    const labels = ['Source', 'Earlier destination', 'Connections', 'Since', 'Process'];
    rowsIn(byId('draining'), keys, makeRow(labels)).forEach((node, index) => {
      const row = draining[index];
      const [src, dst, connections, since, process] = node.children;
      say(src, row.name ?? row.src);
      say(dst, row.dst);
      say(connections, String(row.connections));
      const from = drainsSince(row, rows, generations);
      say(since, from ? `${clock(from)} (${duration(Date.now() - Date.parse(from))})` : '–');
      const version = generations.find(({ pid }) => pid === row.pid)?.version;
      say(process, row.pid === serving ? `${row.pid}, which serves` : `${row.pid}, replaced`, [
        [version ? `version ${version}` : ''],
      ]);
    });
    byId('draining-table').hidden = draining.length === 0;
    byId('draining-empty').hidden = draining.length > 0;
  };

  const tones = { crash: 'bad', rollback: 'bad', trouble: 'warn', switch: 'good', restart: 'good', start: 'good' };
  const showEvents = (events) => {
    const newest = events.toReversed();
    const keys = newest.map((event) => JSON.stringify(event));
    const make = () => {
      const item = element('li');
      item.append(element('time'), element('span', { className: 'kind' }), element('span', { className: 'what' }));
      return item;
    };
    rowsIn(byId('events'), keys, make).forEach((item, index) => {
      const { time, kind, message, src, dst, detail, pid } = newest[index];
      const [when, what, words] = item.children;
      when.dateTime = time;
      text(when, clock(time));
      what.className = `kind ${tones[kind] ?? ''}`;
      text(what, kind);
      const about = [src, dst].filter((each) => each !== undefined).join(' → ');
      text(words, [message, about, detail, `pid ${pid}`].filter((each) => each).join(' · '));
    });
    byId('events-empty').hidden = newest.length > 0;
  };

  const count = (rows, at) => {
    const now = { at, in: sum(rows, 'bytesIn'), out: sum(rows, 'bytesOut'), rules: new Map() };
    for (const row of rows)
      for (const key of [keyOf(row), shareOf(row)])
        now.rules.set(key, (now.rules.get(key) ?? 0) + row.bytesIn + row.bytesOut);
    if (before) {
      const passed = Math.max(0.2, (at - before.at) / 1000);
      // A destination that has drained takes its bytes away with it, which is no rate.
      const rate = (later, earlier) => Math.max(0, later - earlier) / passed;
      push(series.in, rate(now.in, before.in));
      push(series.out, rate(now.out, before.out));
      for (const [key, bytes] of now.rules) {
        const list = ofRule.get(key) ?? [];
        ofRule.set(key, list);
        push(list, rate(bytes, before.rules.get(key) ?? bytes));
      }
      for (const key of ofRule.keys()) if (!now.rules.has(key)) ofRule.delete(key);
    }
    push(series.connections, sum(rows, 'connections'));
    before = now;
  };

  const showTotals = () => {
    const whole = (value) => String(Math.round(value));
    for (const [name, format, what] of [
      ['connections', whole, 'connections'],
      ['in', perSecond, 'bytes in per second'],
      ['out', perSecond, 'bytes out per second'],
    ]) {
      text(byId(`now-${name}`), series[name].length === 0 ? '–' : format(series[name].at(-1)));
      draw(byId(`chart-${name}`), series[name], format, what);
    }
  };

  const showState = (words, tone) => {
    text(byId('state'), words);
    byId('state').className = `state ${tone}`;
  };
  const showStatus = (status, rows, isHealthy) => {
    const failed = rows.filter((row) => row.error !== undefined).length;
    if (isHealthy) showState('healthy', 'good');
    else showState(failed > 0 ? `${counted(failed, 'rule')} not served` : 'stopping', 'bad');
    const older = status.generations.length - 1;
    text(
      byId('facts'),
      [
        `version ${status.version}`,
        `pid ${status.pid}`,
        `up ${duration(status.uptimeMs)}`,
        `${status.engine} engine`,
        status.keeper ? `keeper ${status.keeper.pid}` : 'no keeper',
        older > 0 ? `${counted(older, 'older process').replace(/ss$/, 'sses')} draining` : '',
      ]
        .filter((each) => each)
        .join(' · '),
    );
    document.title = `${isHealthy ? '' : '⚠ '}grace · ${status.dir}`;
    const notes = [...(status.problems ?? []), ...(status.warnings ?? [])];
    const list = byId('notes');
    list.hidden = notes.length === 0;
    rowsIn(list, notes, () => element('li')).forEach((item, index) => text(item, notes[index]));
  };

  class Refused extends Error {}
  const ask = async (path) => {
    const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
    const response = await fetch(path, { headers, cache: 'no-store', signal: AbortSignal.timeout(8000) });
    if (response.status === 401) throw new Refused();
    return response;
  };

  const look = async () => {
    try {
      const [ls, status, events, health] = await Promise.all(
        ['/api/ls', '/api/status', '/api/events', '/healthz'].map(ask),
      );
      if (![ls, status, events].every(({ ok }) => ok)) throw new Error(await ls.text());
      const [rows, facts, happened] = await Promise.all([ls.json(), status.json(), events.json()]);
      answeredAt = new Date();
      byId('token').hidden = true;
      byId('main').hidden = false;
      count(rows, performance.now());
      showStatus(facts, rows, health.ok);
      showTotals();
      showRules(rows, facts);
      showDraining(rows, facts);
      showEvents(happened);
    } catch (error) {
      if (error instanceof Refused) return askForToken();
      before = null;
      const since = answeredAt === null ? '' : ` since ${answeredAt.toLocaleTimeString()}`;
      showState(`no answer${since}`, 'bad');
    }
  };
  const askForToken = () => {
    showState(token === null ? 'token needed' : 'wrong token', 'bad');
    token = null;
    sessionStorage.removeItem('grace-token');
    byId('main').hidden = true;
    if (!byId('token').hidden) return;
    byId('token').hidden = false;
    byId('token-text').focus();
  };
  byId('token').addEventListener('submit', (event) => {
    event.preventDefault();
    token = byId('token-text').value.trim();
    byId('token-text').value = '';
    sessionStorage.setItem('grace-token', token);
    void look();
  });
  byId('pause').addEventListener('click', () => {
    isPaused = !isPaused;
    byId('pause').setAttribute('aria-pressed', String(isPaused));
    before = null;
  });

  const loop = async () => {
    const mayLook = !isPaused && !document.hidden && byId('token').hidden;
    if (mayLook) await look();
    else before = null;
    setTimeout(loop, 1000);
  };
  void loop();
})();

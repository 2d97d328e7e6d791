// What is told as news, and what is not.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {News, QUIET_S, SETTLING_S} from '../../gnome-extension/news.js';
import {NOTHING} from '../../gnome-extension/shared/daemon.js';
import {backend, efficiency, fleet, running} from './daemonStates.mjs';

const LATER_S = SETTLING_S + 1;
const up = running({backends: fleet(backend())});
const down = running({backends: fleet(backend({Health: 'down', Reason: 'connection refused'}))});
const auto = (mode, more) => running({efficiency: efficiency('Auto', mode, `because of ${mode}`, more)});

/** News that has seen the daemon come at second 0. */
function settled(state = up) {
    const news = new News();
    assert.deepEqual(news.compare(NOTHING, state, 0), []);
    return news;
}

const keys = found => found.map(each => each.key);

test('Auto\'s own change is news, with the reason', () => {
    const [told] = settled(auto('Balanced')).compare(auto('Balanced'), auto('Quiet'), LATER_S);
    assert.deepEqual([told.topic, told.title, told.body, told.icon],
        ['auto', 'Auto switched to Quiet', 'Because of Quiet', 'ai-mode-quiet']);
});

for (const [what, before, after] of [
    ['choosing Auto', running(), auto('Quiet')],
    ['leaving Auto', auto('Quiet'), running()],
    ['choosing by hand', running(), running({efficiency: efficiency('Quiet')})],
    ['another reason for the same mode', auto('Quiet'), auto('Quiet', {Reason: 'another'})],
    ['a hold', auto('Balanced'), auto('Quiet', {ActiveHolds: [{Cookie: 1}]})],
    ['the end of a hold', auto('Quiet', {ActiveHolds: [{Cookie: 1}]}), auto('Balanced')],
    ['a mode that was not known before', running({efficiency: {CurrentMode: 'Auto'}}), auto('Quiet')],
    ['a daemon that goes', auto('Quiet'), NOTHING],
    ['a daemon that comes', NOTHING, auto('Quiet')],
])
    test(`${what} is no news`, () => assert.deepEqual(settled().compare(before, after, LATER_S), []));

test('what Auto makes of a machine that it has just met is no news', () => {
    assert.deepEqual(settled(auto('Balanced')).compare(auto('Balanced'), auto('Quiet'), SETTLING_S - 1), []);
});

const KEY = '/ie/fio/OllamaProxy/Backends/igpu';

test('a backend that goes down is news with the reason, and its return withdraws it', () => {
    const news = settled();
    const [lost] = news.compare(up, down, 1);
    assert.deepEqual([lost.topic, lost.title, lost.body], ['backends', 'iGPU is down', 'Connection refused']);
    assert.deepEqual(news.compare(down, up, 2), [{key: KEY}]);
});

test('Auto\'s news is transient, a backend\'s is not', () => {
    assert.equal(settled(auto('Balanced')).compare(auto('Balanced'), auto('Quiet'), LATER_S)[0].isTransient, true);
    assert.ok(!settled().compare(up, down, 1)[0].isTransient);
});

test('a backend that comes up for the first time is no news', () => {
    const unchecked = running({backends: fleet(backend({Health: 'unknown'}))});
    assert.deepEqual(settled(unchecked).compare(unchecked, up, 1), []);
    assert.deepEqual(settled(down).compare(down, up, 1), []);
});

test('a backend of another machine that goes is no news', () => {
    const of = Health => running({backends: fleet(backend({Machine: 'attic', Health}))});
    assert.deepEqual(settled(of('up')).compare(of('up'), of('down'), 1), []);
});

test('a backend that was never up is not told as down', () => {
    const unchecked = running({backends: fleet(backend({Health: 'unknown'}))});
    assert.deepEqual(settled(unchecked).compare(unchecked, down, 1), []);
    assert.deepEqual(settled().compare(running(), down, 1), []);
});

test('switching a backend off and on is no news, also when it was down in between', () => {
    const off = running({backends: fleet(backend({Health: 'disabled', Enabled: false}))});
    const news = settled();
    assert.deepEqual(news.compare(up, off, 1), []);
    assert.deepEqual(news.compare(off, up, 2), []);
    assert.equal(news.compare(up, down, 3).length, 1);
    assert.deepEqual(news.compare(down, off, 4), [{key: KEY}]);
    assert.deepEqual(news.compare(off, up, 5), []);
});

test('what was told is withdrawn even if the state was not known in between', () => {
    const unchecked = running({backends: fleet(backend({Health: 'unknown'}))});
    const news = settled();
    news.compare(up, down, 1);
    assert.deepEqual(news.compare(down, unchecked, 2), []);
    assert.deepEqual(news.compare(unchecked, up, 3), [{key: KEY}]);
});

test('the end of the daemon withdraws what was down', () => {
    const news = settled();
    news.compare(up, down, 1);
    assert.deepEqual(news.compare(down, NOTHING, 2), [{key: KEY}]);
    news.compare(NOTHING, down, 3);
    assert.deepEqual(news.compare(down, up, 4), []);
});

test('the same news makes a banner once a minute at most, another one at once', () => {
    const news = settled();
    const quiet = (before, after, nowS) =>
        news.compare(before, after, nowS).filter(each => each.title).map(each => each.isQuiet);
    assert.deepEqual(quiet(up, down, 0), [false]);
    news.compare(down, up, 1);
    assert.deepEqual(quiet(up, down, QUIET_S - 0.1), [true]);
    const other = Health => running({backends: fleet(backend({Id: 'npu', Name: 'NPU', Health}))});
    assert.deepEqual(quiet(other('up'), other('down'), 2), [false]);
    assert.deepEqual(quiet(up, down, QUIET_S), [false]);
});

test('Auto going to and fro is told once a minute', () => {
    const news = settled(auto('Balanced'));
    assert.equal(news.compare(auto('Balanced'), auto('Quiet'), LATER_S).length, 1);
    assert.deepEqual(news.compare(auto('Balanced'), auto('Quiet'), LATER_S + 1), []);
});

/** A daemon with one device at work. */
const device = more => running({
    backends: fleet(backend({Hardware: 'nvidia', InFlight: 1})),
    thermal: {Devices: [{id: 'nvidia0', name: 'RTX 4060', hardware: 'nvidia', ...more}]},
});

test('throttling is told by the device\'s name while a request runs there, and withdrawn at its end', () => {
    const news = settled();
    const [cool, hot] = [device(), device({throttling: 'power cap'})];
    const [told] = news.compare(cool, hot, 0);
    assert.deepEqual([told.key, told.topic, told.title, told.body],
        ['throttling:nvidia0', 'throttling', 'RTX 4060 is throttled', 'Power cap']);
    assert.deepEqual(news.compare(hot, hot, 1), []);
    assert.deepEqual(news.compare(hot, cool, 59), [{key: 'throttling:nvidia0'}]);
    for (const InFlight of [0, NaN, undefined])
        assert.deepEqual(news.compare(cool, {...hot, backends: fleet(backend({Hardware: 'nvidia', InFlight}))}, 999), []);
    const elsewhere = fleet(backend({Hardware: 'npu', InFlight: 1}));
    assert.deepEqual(news.compare(cool, {...hot, backends: elsewhere}, 999), []);
});

test('a device without a name is called by its id, and the processor by its word', () => {
    const title = id => settled().compare(device({id, name: ''}), device({id, name: '', throttling: 'hot'}), 0)[0].title;
    assert.deepEqual([title('0000:01:00.0'), title('cpu')], ['0000:01:00.0 is throttled', 'The processor is throttled']);
});

test('several changes at once are each told', () => {
    const two = (...states) => running({
        backends: fleet(...states.map((Health, i) => backend({Id: `b${i}`, Name: `B${i}`, Health}))),
    });
    const found = settled(two('up', 'up')).compare(two('up', 'up'), two('down', 'down'), 1);
    assert.deepEqual(keys(found).length, 2);
});

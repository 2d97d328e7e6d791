// What is told as news, and what is not.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {News, QUIET_S, SETTLING_S} from '../../gnome-extension/news.js';
import {NOTHING} from '../../gnome-extension/shared/daemonState.js';
import {backend, efficiency, ENGLISH, fleet, running} from './daemonStates.mjs';

const LATER_S = SETTLING_S + 1;
const up = running({backends: fleet(backend())});
const down = running({backends: fleet(backend({Health: 'down', Reason: 'connection refused'}))});
const auto = (mode, more) => running({efficiency: efficiency('Auto', mode, `because of ${mode}`, more)});

/** News that has seen the daemon come at second 0. */
function settled(state = up) {
    const news = new News(ENGLISH);
    assert.deepEqual(news.compare(NOTHING, state, 0), []);
    return news;
}

const keys = found => found.map(each => each.key);
const titles = found => found.map(each => each.title);

test('Auto\'s own change is news, with the reason', () => {
    const [told] = settled(auto('Balanced')).compare(auto('Balanced'), auto('Quiet'), LATER_S);
    assert.deepEqual([told.topic, told.title, told.body, told.icon],
        ['auto', 'Auto chose Quiet', 'Because of Quiet', 'ai-mode-quiet']);
});

for (const [what, before, after] of [
    ['choosing Auto', running(), auto('Quiet')],
    ['leaving Auto', auto('Quiet'), running()],
    ['choosing by hand', running(), running({efficiency: efficiency('Quiet')})],
    ['another reason for the same mode', auto('Quiet'), auto('Quiet', {Reason: 'another'})],
    ['a hold', auto('Balanced'), auto('Quiet', {ActiveHolds: [{cookie: 1}]})],
    ['the end of a hold', auto('Quiet', {ActiveHolds: [{cookie: 1}]}), auto('Balanced')],
    ['a mode that was not known before', running({efficiency: {CurrentMode: 'Auto'}}), auto('Quiet')],
    ['a daemon that goes', auto('Quiet'), NOTHING],
    ['a daemon that comes', NOTHING, auto('Quiet')],
])
    test(`${what} is no news`, () => assert.deepEqual(settled().compare(before, after, LATER_S), []));

test('what Auto makes of a machine that it has just met is no news', () => {
    assert.deepEqual(settled(auto('Balanced')).compare(auto('Balanced'), auto('Quiet'), SETTLING_S - 1), []);
});

test('a backend that goes down is news with the reason, and its return is, too', () => {
    const news = settled();
    const [lost] = news.compare(up, down, 1);
    assert.deepEqual([lost.topic, lost.title, lost.body], ['backends', 'iGPU is down', 'Connection refused']);
    assert.deepEqual(titles(news.compare(down, up, 2)), ['iGPU is back']);
});

test('a backend that comes up for the first time is no news', () => {
    const unchecked = running({backends: fleet(backend({Health: 'unknown'}))});
    assert.deepEqual(settled(unchecked).compare(unchecked, up, 1), []);
    assert.deepEqual(settled(down).compare(down, up, 1), []);
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
    assert.deepEqual(news.compare(down, off, 4), []);
    assert.deepEqual(news.compare(off, up, 5), []);
});

test('a return is told even if the state was not known in between', () => {
    const unchecked = running({backends: fleet(backend({Health: 'unknown'}))});
    const news = settled();
    news.compare(up, down, 1);
    assert.deepEqual(news.compare(down, unchecked, 2), []);
    assert.deepEqual(titles(news.compare(unchecked, up, 3)), ['iGPU is back']);
});

test('a restart of the daemon forgets what was down', () => {
    const news = settled();
    news.compare(up, down, 1);
    news.compare(down, NOTHING, 2);
    news.compare(NOTHING, down, 3);
    assert.deepEqual(news.compare(down, up, 4), []);
});

test('the same news is told once a minute at most, another one at once', () => {
    const news = settled();
    assert.equal(news.compare(up, down, 0).length, 1);
    assert.equal(news.compare(down, up, 1).length, 1);
    assert.deepEqual(news.compare(up, down, QUIET_S - 0.1), []);
    const other = running({backends: fleet(backend({Id: 'npu', Name: 'NPU'}))});
    const otherDown = running({backends: fleet(backend({Id: 'npu', Name: 'NPU', Health: 'down'}))});
    assert.deepEqual(titles(news.compare(other, otherDown, 2)), ['NPU is down']);
    assert.deepEqual(titles(news.compare(up, down, QUIET_S)), ['iGPU is down']);
});

test('throttling is told by the device\'s name, its end, too, and not twice within a minute', () => {
    const news = settled();
    const hot = {id: '0000:01:00.0', name: 'RTX 4060', reason: 'power cap', isThrottling: true};
    const [told] = news.throttling(hot, 0);
    assert.deepEqual([told.topic, told.title, told.body],
        ['throttling', 'RTX 4060 is throttled', 'Power cap']);
    assert.deepEqual(news.throttling(hot, 59), []);
    assert.deepEqual(titles(news.throttling({...hot, isThrottling: false}, 59)), ['RTX 4060 is no longer throttled']);
});

test('a device without a name is called by its id, and the processor by its word', () => {
    const title = id => settled().throttling({id, isThrottling: true}, 0)[0].title;
    assert.equal(title('0000:01:00.0'), '0000:01:00.0 is throttled');
    assert.equal(title('cpu'), 'The processor is throttled');
});

test('several changes at once are each told', () => {
    const two = (...states) => running({
        backends: fleet(...states.map((Health, i) => backend({Id: `b${i}`, Name: `B${i}`, Health}))),
    });
    const found = settled(two('up', 'up')).compare(two('up', 'up'), two('down', 'down'), 1);
    assert.deepEqual(keys(found).length, 2);
});

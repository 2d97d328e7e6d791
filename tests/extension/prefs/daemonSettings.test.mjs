import assert from 'node:assert/strict';
import {test} from 'node:test';

import {DaemonSettings} from '../../../gnome-extension/prefs/autoPage.js';

/** A daemon that answers when it is told to. */
class SlowDaemon {
    asked = [];
    refusals = [];
    shows = 0;

    constructor(settings) {
        this.settings = new DaemonSettings(entries => this.change(entries), error => this.refusals.push(error.message),
            () => this.shows++);
        this.settings.told = settings;
    }

    change(entries) {
        return new Promise((resolve, reject) => this.asked.push({entries, accept: resolve, refuse: reject}));
    }
}

test('what the daemon says is shown', () => {
    const {settings} = new SlowDaemon({low_battery_percent: 50});
    assert.equal(settings.shown('low_battery_percent'), 50);
    assert.equal(settings.shown('full_battery_percent'), undefined);
});

test('what a person wants is shown and asked for at once', () => {
    const daemon = new SlowDaemon({low_battery_percent: 50});
    daemon.settings.want('low_battery_percent', 40);
    assert.equal(daemon.settings.shown('low_battery_percent'), 40);
    assert.deepEqual(daemon.asked[0].entries, {low_battery_percent: 40});
});

test('the present value is not asked for', () => {
    const daemon = new SlowDaemon({low_battery_percent: 50});
    daemon.settings.want('low_battery_percent', 50);
    assert.equal(daemon.asked.length, 0);
});

test('of many clicks only the last goes with the next question', async () => {
    const daemon = new SlowDaemon({low_battery_percent: 50});
    const done = daemon.settings.want('low_battery_percent', 49);
    daemon.settings.want('low_battery_percent', 48);
    daemon.settings.want('low_battery_percent', 47);
    assert.equal(daemon.asked.length, 1);
    daemon.asked[0].accept();
    await new Promise(setImmediate);
    assert.deepEqual(daemon.asked[1].entries, {low_battery_percent: 47});
    daemon.asked[1].accept();
    await done;
    assert.equal(daemon.settings.shown('low_battery_percent'), 47);
    assert.equal(daemon.asked.length, 2);
});

test('an old value that the daemon tells meanwhile does not take back what the person wants', () => {
    const daemon = new SlowDaemon({low_battery_percent: 50});
    daemon.settings.want('low_battery_percent', 48);
    daemon.settings.told = {low_battery_percent: 49};
    assert.equal(daemon.settings.shown('low_battery_percent'), 48);
});

test('after its consent the value stays until the daemon tells another', async () => {
    const daemon = new SlowDaemon({quiet_hours_start: '22:00'});
    const done = daemon.settings.want('quiet_hours_start', '7:00');
    daemon.asked[0].accept();
    await done;
    assert.equal(daemon.settings.shown('quiet_hours_start'), '7:00');
    daemon.settings.told = {quiet_hours_start: '07:00'};
    assert.equal(daemon.settings.shown('quiet_hours_start'), '07:00');
});

test('a refusal is told in the daemon\'s words, and the row goes back to what the daemon says', async () => {
    const daemon = new SlowDaemon({critical_battery_percent: 20});
    const done = daemon.settings.want('critical_battery_percent', 60);
    daemon.asked[0].refuse(new Error('it has to be below 50'));
    await done;
    assert.deepEqual(daemon.refusals, ['it has to be below 50']);
    assert.equal(daemon.settings.shown('critical_battery_percent'), 20);
    assert.equal(daemon.shows, 1);
});

test('what the person wanted after a refused value is still asked for', async () => {
    const daemon = new SlowDaemon({critical_battery_percent: 20});
    const done = daemon.settings.want('critical_battery_percent', 60);
    daemon.settings.want('critical_battery_percent', 30);
    daemon.asked[0].refuse(new Error('it has to be below 50'));
    await new Promise(setImmediate);
    assert.deepEqual(daemon.asked[1].entries, {critical_battery_percent: 30});
    daemon.asked[1].accept();
    await done;
    assert.equal(daemon.settings.shown('critical_battery_percent'), 30);
});

test('after a refusal the same value can be tried again', async () => {
    const daemon = new SlowDaemon({critical_battery_percent: 20});
    const first = daemon.settings.want('critical_battery_percent', 60);
    daemon.asked[0].refuse(new Error('no'));
    await first;
    daemon.settings.want('critical_battery_percent', 60);
    assert.equal(daemon.asked.length, 2);
});

test('an answer after the window was closed tells nobody', async () => {
    const daemon = new SlowDaemon({critical_battery_percent: 20});
    const done = daemon.settings.want('critical_battery_percent', 60);
    daemon.settings.close();
    daemon.asked[0].refuse(new Error('too late'));
    await done;
    assert.deepEqual([daemon.refusals, daemon.shows], [[], 0]);
});

// GNOME's style, and those rules of the extension review that can be seen in the code; each message says what to do.
import js from '@eslint/js';

const readonly = names => Object.fromEntries(names.map(name => [name, 'readonly']));

const DESKTOP = ['console', 'TextDecoder', 'TextEncoder', 'setTimeout', 'setInterval', 'clearTimeout', 'clearInterval',
    'imports', 'log', 'logError', 'print', 'printerr'];

const QUIET = 'Leave no line in the journal while all is well; console.warn() or console.error() for what went wrong.';
const NO_TIMER = 'No timers: follow a D-Bus signal or a property instead.';
const NO_WAITING = 'Never wait for an answer: it would freeze the desktop. Use the asynchronous call.';
const EMPTY_MODULE = 'Nothing happens when a module is loaded: do it in enable() or in fillPreferencesWindow().';

const version = '(\\?version=.*)?$';

/** Refuses modules by the beginning of their name. */
const without = (names, message) => ({
    'no-restricted-imports': ['error', {patterns: [{regex: `^gi://(${names.join('|')})${version}`, message}]}],
});

const REVIEW = [
    {selector: 'Program > :not(ImportDeclaration, ExportNamedDeclaration, ExportDefaultDeclaration, ExportAllDeclaration, FunctionDeclaration, ClassDeclaration, VariableDeclaration)', message: EMPTY_MODULE},
    {selector: ':matches(Program, Program > ExportNamedDeclaration) > VariableDeclaration > VariableDeclarator > CallExpression.init:not([callee.object.name=/^(Object|GObject)$/])', message: EMPTY_MODULE},
    {selector: ':matches(Program, Program > ExportNamedDeclaration) > VariableDeclaration > VariableDeclarator > NewExpression.init:not([callee.name=/^(Map|Set|Intl)$/])', message: EMPTY_MODULE},
    {selector: ':matches(Program, Program > ExportNamedDeclaration) > VariableDeclaration[kind="let"]', message: `${EMPTY_MODULE} What changes belongs to an object that disable() lets go.`},
    {selector: 'AwaitExpression:not(:function AwaitExpression)', message: EMPTY_MODULE},
    {selector: 'MemberExpression[property.name=/[a-z]_sync$/]', message: NO_WAITING},
    {selector: 'MemberExpression[property.name=/^(new_for_bus_sync|load_contents|query_info|spawn_command_line_sync|file_get_contents)$/]', message: NO_WAITING},
    {selector: 'MemberExpression[object.name="GLib"][property.name=/^(timeout_add|timeout_add_seconds|timeout_add_once|timeout_add_seconds_once|timeout_source_new|timeout_source_new_seconds)$/]', message: NO_TIMER},
    {selector: 'MemberExpression[object.name="Mainloop"]', message: NO_TIMER},
    {selector: 'MemberExpression[object.name="console"][property.name=/^(log|info|trace|dir|table)$/]', message: QUIET},
    {selector: 'CallExpression[callee.name="eval"], NewExpression[callee.name="Function"]', message: 'No code from text: a reviewer has to be able to read what runs.'},
    {selector: 'MemberExpression[property.name=/^(spawn_async|spawn_command_line_async|spawn_async_with_pipes)$/], NewExpression[callee.property.name="Subprocess"]', message: 'No programs: the daemon does the work, over D-Bus.'},
];

const GLOBALS = [
    ...['setTimeout', 'setInterval', 'clearTimeout', 'clearInterval'].map(name => ({name, message: NO_TIMER})),
    ...['log', 'logError', 'print', 'printerr'].map(name => ({name, message: QUIET})),
    {name: 'imports', message: "Use ES modules: import Gio from 'gi://Gio'."},
    {name: 'Debugger', message: 'Not for extensions.'},
];

export default [
    {ignores: ['node_modules/']},
    js.configs.recommended,
    {
        files: ['**/*.js'],
        languageOptions: {ecmaVersion: 2022, sourceType: 'module', globals: readonly(DESKTOP)},
        linterOptions: {reportUnusedDisableDirectives: 'error'},
        rules: {
            'array-callback-return': 'error',
            'arrow-body-style': ['error', 'as-needed'],
            'camelcase': ['error', {properties: 'never', allow: ['^vfunc_', '^on_', '^g_']}],
            'complexity': ['error', 12],
            'consistent-return': 'error',
            'curly': ['error', 'multi-or-nest', 'consistent'],
            'dot-notation': 'error',
            'eqeqeq': 'error',
            'max-len': ['error', {code: 120, ignoreRegExpLiterals: true}],
            'max-lines': ['error', 300],
            'max-lines-per-function': ['error', 40],
            'max-params': ['error', 7],
            'no-await-in-loop': 'error',
            'no-constructor-return': 'error',
            'no-else-return': 'error',
            'no-implicit-coercion': ['error', {allow: ['!!']}],
            'no-restricted-globals': ['error', ...GLOBALS],
            'no-restricted-syntax': ['error', ...REVIEW],
            'no-self-compare': 'error',
            'no-shadow': 'error',
            'no-template-curly-in-string': 'error',
            'no-throw-literal': 'error',
            'no-unused-vars': ['error', {argsIgnorePattern: '^_', varsIgnorePattern: '^_$', caughtErrors: 'none'}],
            'no-useless-call': 'error',
            'no-useless-concat': 'error',
            'no-useless-return': 'error',
            'no-var': 'error',
            'object-shorthand': 'error',
            'operator-assignment': 'error',
            'prefer-arrow-callback': 'error',
            'prefer-const': 'error',
            'prefer-object-spread': 'error',
            'prefer-rest-params': 'error',
            'prefer-template': 'error',
            'require-await': 'error',
            'symbol-description': 'error',
            'yoda': 'error',
        },
    },
    {
        files: ['**/*.js'],
        ignores: ['prefs.js', 'prefs/**', 'eslint.config.js'],
        languageOptions: {globals: readonly(['global'])},
        rules: without(['Gtk', 'Gdk', 'Adw', 'GtkSource'], 'GTK is not in the shell: it belongs in prefs.js or prefs/.'),
    },
    {
        files: ['prefs.js', 'prefs/**/*.js'],
        rules: without(['St', 'Shell', 'Meta', 'Clutter', 'Cogl', 'Mtk'],
            'The shell is not in the preferences: this belongs in extension.js and its modules.'),
    },
    {
        files: ['shared/**/*.js'],
        languageOptions: {globals: {global: 'off'}},
        rules: without(['Gtk', 'Gdk', 'Adw', 'GtkSource', 'St', 'Shell', 'Meta', 'Clutter', 'Cogl', 'Mtk'],
            'The shell and the preferences share this: Gio and GLib only.'),
    },
    {
        files: ['eslint.config.js'], // runs under Node, is not shipped
        rules: {'no-restricted-syntax': 'off', 'max-len': 'off'},
    },
];

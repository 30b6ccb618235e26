/*
 * sdk.js - a full life of a key by the SDKs of Alibaba Cloud.
 *
 *	node sdk.js pop-core|kms20160120|openapi-client PORT ID SECRET
 *
 * Each step says "ok STEP"; the first that goes wrong ends it with status 1.
 */
'use strict';

const crypto = require('crypto');
const assert = require('assert');
const { createRequire } = require('module');

const [kind, port, id, secret] = process.argv.slice(2);
const load = createRequire(process.cwd() + '/');
const context = JSON.stringify({ lineage: 'd-1', odd: "x *'~+%\u00e4" });

/* A function (action, parameters) -> answer, which throws what is refused with
 * the code of the API in .code. */
function popCore() {
	const { RPCClient } = load('@alicloud/pop-core');
	const client = new RPCClient({
		accessKeyId: id, accessKeySecret: secret,
		endpoint: `http://127.0.0.1:${port}`, apiVersion: '2016-01-20',
	});
	let n = 0;

	/* GET and POST in turn. */
	return (action, params) => client.request(action, params,
		{ method: n++ % 2 ? 'GET' : 'POST', formatParams: false });
}

/* Its answers are objects with names in lower case. */
function upper(x) {
	if (Array.isArray(x))
		return x.map(upper);
	if (x === null || typeof x !== 'object')
		return x;
	return Object.fromEntries(Object.entries(x).map(([k, v]) =>
		[k[0].toUpperCase() + k.slice(1), upper(v)]));
}

function kms20160120() {
	const kms = load('@alicloud/kms20160120');
	const { Config } = load('@alicloud/rpc-client');
	const client = new kms.default(new Config({
		accessKeyId: id, accessKeySecret: secret, regionId: 'local',
		endpoint: `127.0.0.1:${port}`, protocol: 'http',
	}));
	const other = openapi();

	return async (action, params) => {
		const name = action[0].toLowerCase() + action.slice(1);
		const Request = kms[action + 'Request'];

		/* What it does not know is asked otherwise. */
		if (!client[name] || !Request)
			return other(action, params);
		return upper(await client[name](new Request(
			Object.fromEntries(Object.entries(params).map(([k, v]) =>
				[k[0].toLowerCase() + k.slice(1), v])))));
	};
}

function openapi() {
	const api = load('@alicloud/openapi-client');
	const util = load('@alicloud/tea-util');
	const client = new api.default(new api.Config({
		accessKeyId: id, accessKeySecret: secret, regionId: 'local',
		endpoint: `127.0.0.1:${port}`, protocol: 'HTTP',
	}));
	let n = 0;

	/* Parameters in the query and as a form in turn. */
	return async (action, params) => {
		const where = n++ % 2 ? { body: params } : { query: params };
		const answer = await client.callApi(new api.Params({
			action, version: '2016-01-20', protocol: 'HTTPS',
			pathname: '/', method: 'POST', authType: 'AK',
			style: 'RPC', reqBodyType: 'formData', bodyType: 'json',
		}), new api.OpenApiRequest(where), new util.RuntimeOptions({}));

		return answer.body;
	};
}

async function refused(code, promise) {
	try {
		await promise;
	} catch (e) {
		assert.strictEqual(String(e.code).replace(/Error$/, ''), code);
		return;
	}
	assert.fail(`not refused with ${code}`);
}

/* Import material as it is to be done by a customer. */
async function importMaterial(call) {
	const made = await call('CreateKey', { Origin: 'EXTERNAL' });
	const KeyId = made.KeyMetadata.KeyId;
	const material = crypto.randomBytes(32);

	assert.strictEqual(made.KeyMetadata.KeyState, 'PendingImport');
	await refused('Rejected.PendingImport', call('GenerateDataKey', { KeyId }));
	const p = await call('GetParametersForImport', {
		KeyId, WrappingAlgorithm: 'RSAES_OAEP_SHA_256',
		WrappingKeySpec: 'RSA_2048',
	});
	const sealed = crypto.publicEncrypt({
		key: crypto.createPublicKey({
			key: Buffer.from(p.PublicKey, 'base64'), format: 'der',
			type: 'spki',
		}),
		padding: crypto.constants.RSA_PKCS1_OAEP_PADDING,
		oaepHash: 'sha256',
	}, material);

	await call('ImportKeyMaterial', {
		KeyId, EncryptedKeyMaterial: sealed.toString('base64'),
		ImportToken: p.ImportToken, KeyMaterialExpireUnix: 0,
	});
	await call('GenerateDataKey', { KeyId });
	await call('DeleteKeyMaterial', { KeyId });
	await refused('Rejected.PendingImport', call('GenerateDataKey', { KeyId }));
}

async function life(call) {
	const step = async (name, fn) => {
		await fn();
		console.log(`ok ${name}`);
	};
	const AliasName = `alias/sdk-${kind}`;
	let KeyId, dk;

	await step('create', async () => {
		const r = await call('CreateKey',
			{ Description: 'made by an SDK: \u00e4 & = +' });

		KeyId = r.KeyMetadata.KeyId;
		assert.strictEqual(r.KeyMetadata.KeyState, 'Enabled');
		assert.strictEqual(r.KeyMetadata.Description,
			'made by an SDK: \u00e4 & = +');
	});
	await step('alias', async () => {
		await call('CreateAlias', { AliasName, KeyId });
		await refused('AliasAlreadyExists',
			call('CreateAlias', { AliasName, KeyId }));
		const r = await call('ListAliases', { PageSize: 100 });

		assert(r.Aliases.Alias.some((a) => a.AliasName === AliasName &&
			a.KeyId === KeyId));
	});
	await step('data key', async () => {
		dk = await call('GenerateDataKey', {
			KeyId: AliasName, KeySpec: 'AES_256',
			EncryptionContext: context,
		});
		assert.strictEqual(Buffer.from(dk.Plaintext, 'base64').length, 32);
		assert.strictEqual(dk.KeyId, KeyId);
	});
	await step('decrypt', async () => {
		const r = await call('Decrypt', {
			CiphertextBlob: dk.CiphertextBlob,
			EncryptionContext: context,
		});

		assert.strictEqual(r.Plaintext, dk.Plaintext);
	});
	await step('wrong context', () => refused('InvalidParameter',
		call('Decrypt', {
			CiphertextBlob: dk.CiphertextBlob,
			EncryptionContext: '{"lineage":"d-2"}',
		})));
	await step('encrypt', async () => {
		const Plaintext = Buffer.from('a secret').toString('base64');
		const r = await call('Encrypt', { KeyId, Plaintext });
		const d = await call('Decrypt',
			{ CiphertextBlob: r.CiphertextBlob });

		assert.strictEqual(d.Plaintext, Plaintext);
	});
	await step('rotate', async () => {
		await call('CreateKeyVersion', { KeyId });
		const r = await call('ListKeyVersions', { KeyId });

		assert.strictEqual(r.KeyVersions.KeyVersion.length, 2);
	});
	await step('re-encrypt', async () => {
		const r = await call('ReEncrypt', {
			CiphertextBlob: dk.CiphertextBlob,
			SourceEncryptionContext: context,
			DestinationKeyId: KeyId,
			DestinationEncryptionContext: '{"a":"b"}',
		});
		const d = await call('Decrypt', {
			CiphertextBlob: r.CiphertextBlob,
			EncryptionContext: '{"a":"b"}',
		});

		assert.strictEqual(d.Plaintext, dk.Plaintext);
		assert.notStrictEqual(d.KeyVersionId, dk.KeyVersionId);
	});
	await step('disable', async () => {
		await call('DisableKey', { KeyId });
		await refused('Rejected.Disabled',
			call('GenerateDataKey', { KeyId }));
	});
	await step('enable', async () => {
		await call('EnableKey', { KeyId });
		await call('GenerateDataKeyWithoutPlaintext', { KeyId });
	});
	await step('tags', async () => {
		await call('TagResource', {
			KeyId, Tags: '[{"TagKey":"team","TagValue":"a/b"}]',
		});
		const r = await call('ListResourceTags', { KeyId });

		assert.strictEqual(r.Tags.Tag[0].TagValue, 'a/b');
	});
	await step('import', () => importMaterial(call));
	await step('schedule deletion', async () => {
		await call('ScheduleKeyDeletion',
			{ KeyId, PendingWindowInDays: 7 });
		const r = await call('DescribeKey', { KeyId });

		assert.strictEqual(r.KeyMetadata.KeyState, 'PendingDeletion');
		await refused('Rejected.PendingDeletion', call('Decrypt', {
			CiphertextBlob: dk.CiphertextBlob,
			EncryptionContext: context,
		}));
	});
	await step('cancel deletion', async () => {
		await call('CancelKeyDeletion', { KeyId });
		const r = await call('DescribeKey', { KeyId });

		assert.strictEqual(r.KeyMetadata.KeyState, 'Enabled');
	});
	await step('delete alias', async () => {
		await call('DeleteAlias', { AliasName });
		await refused('Forbidden.AliasNotFound',
			call('DescribeKey', { KeyId: AliasName }));
	});
}

const kinds = {
	'pop-core': popCore,
	'kms20160120': kms20160120,
	'openapi-client': openapi,
};

life(kinds[kind]()).catch((e) => {
	console.error(e);
	process.exit(1);
});

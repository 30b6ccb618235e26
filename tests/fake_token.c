/*
 * fake_token.c - a PKCS#11 module with one token, which lies as it is told to
 *by $FAKE_TOKEN:
 *
 *	good    it does what it should, but for the cryptography
 *	closed  the first session is closed when it is used
 *	gone    every session is
 *	slots   it has more slots than there was room for
 *	two     it has two keys of any id
 *	soft    its keys can be taken out
 *	long, short  a result has another length than it must
 *	broken  nothing can be decrypted, by what is a failure of its own
 *
 * It encrypts by doing nothing, and its tags are sums.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <p11-kit/pkcs11.h>

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ret);

static int sessions;

static bool
is(const char *what)
{
	const char *mode = getenv("FAKE_TOKEN");

	return mode && strcmp(mode, what) == 0;
}

static CK_RV
initialize(void *args)
{
	(void)args;
	sessions = 0;
	return CKR_OK;
}

static CK_RV
finalize(void *reserved)
{
	(void)reserved;
	return CKR_OK;
}

static CK_RV
get_info(CK_INFO *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->cryptokiVersion.major = 2;
	ret->cryptokiVersion.minor = 40;
	return CKR_OK;
}

static CK_RV
get_slots(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *n)
{
	(void)present;
	if (slots)
		slots[0] = 7;
	*n = is("slots") ? 1UL << 20 : 1;
	return CKR_OK;
}

static CK_RV
get_token(CK_SLOT_ID slot, CK_TOKEN_INFO *ret)
{
	(void)slot;
	memset(ret, ' ', sizeof(*ret));
	memcpy(ret->label, "fake", 4);
	ret->flags = CKF_TOKEN_INITIALIZED | CKF_LOGIN_REQUIRED;
	return CKR_OK;
}

static CK_RV
open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify,
	     CK_SESSION_HANDLE *ret)
{
	(void)slot;
	(void)flags;
	(void)app;
	(void)notify;
	*ret = (CK_SESSION_HANDLE)++sessions;
	return CKR_OK;
}

static CK_RV
close_session(CK_SESSION_HANDLE s)
{
	(void)s;
	return CKR_OK;
}

static CK_RV
login(CK_SESSION_HANDLE s, CK_USER_TYPE user, unsigned char *pin, CK_ULONG len)
{
	(void)s;
	(void)user;
	return len == 4 && memcmp(pin, "1234", 4) == 0 ? CKR_OK
						       : CKR_PIN_INCORRECT;
}

static CK_RV
find_init(CK_SESSION_HANDLE s, CK_ATTRIBUTE *t, CK_ULONG n)
{
	(void)t;
	(void)n;
	if (is("gone") || (is("closed") && s == 1))
		return CKR_SESSION_CLOSED;
	return CKR_OK;
}

static CK_RV
find(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *ret, CK_ULONG max, CK_ULONG *n)
{
	(void)s;
	(void)max;
	ret[0] = 1;
	*n = is("two") ? 2 : 1;
	return CKR_OK;
}

static CK_RV
find_final(CK_SESSION_HANDLE s)
{
	(void)s;
	return CKR_OK;
}

static CK_RV
generate(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_ATTRIBUTE *t, CK_ULONG n,
	 CK_OBJECT_HANDLE *ret)
{
	(void)s;
	(void)m;
	(void)t;
	(void)n;
	*ret = 1;
	return CKR_OK;
}

static CK_RV
destroy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o)
{
	(void)s;
	(void)o;
	return CKR_OK;
}

static CK_RV
get_attributes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *t,
	       CK_ULONG n)
{
	(void)s;
	(void)o;
	for (CK_ULONG i = 0; i < n; i++)
		*(CK_BBOOL *)t[i].pValue = (t[i].type == CKA_EXTRACTABLE) ==
					   is("soft");
	return CKR_OK;
}

static CK_RV
crypt_init(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
	(void)s;
	(void)m;
	(void)key;
	return CKR_OK;
}

static unsigned char
sum(const unsigned char *p, CK_ULONG len)
{
	unsigned char c = 1;

	while (len--)
		c = (unsigned char)(c * 31 + *p++);
	return c;
}

static CK_RV
encrypt(CK_SESSION_HANDLE s, unsigned char *in, CK_ULONG len,
	unsigned char *out, CK_ULONG *n)
{
	(void)s;
	memcpy(out, in, len);
	memset(out + len, sum(in, len), 16);
	*n = len + 16;
	if (is("long"))
		*n = 1UL << 30;
	if (is("short"))
		*n = len;
	return CKR_OK;
}

static CK_RV
decrypt(CK_SESSION_HANDLE s, unsigned char *in, CK_ULONG len,
	unsigned char *out, CK_ULONG *n)
{
	(void)s;
	if (is("broken") || len < 16 || in[len - 1] != sum(in, len - 16))
		return CKR_GENERAL_ERROR;
	memcpy(out, in, len - 16);
	*n = len - 16;
	return CKR_OK;
}

static CK_FUNCTION_LIST functions = {
	.version = { 2, 40 },
	.C_Initialize = initialize,
	.C_Finalize = finalize,
	.C_GetInfo = get_info,
	.C_GetFunctionList = C_GetFunctionList,
	.C_GetSlotList = get_slots,
	.C_GetTokenInfo = get_token,
	.C_OpenSession = open_session,
	.C_CloseSession = close_session,
	.C_Login = login,
	.C_FindObjectsInit = find_init,
	.C_FindObjects = find,
	.C_FindObjectsFinal = find_final,
	.C_GenerateKey = generate,
	.C_DestroyObject = destroy,
	.C_GetAttributeValue = get_attributes,
	.C_EncryptInit = crypt_init,
	.C_Encrypt = encrypt,
	.C_DecryptInit = crypt_init,
	.C_Decrypt = decrypt,
};

CK_RV
C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ret)
{
	*ret = &functions;
	return CKR_OK;
}

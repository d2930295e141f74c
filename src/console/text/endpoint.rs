//! URL & Appkey, and the manual.

texts! {
    /// What programs need to know, and the manual.
    Texts {
        title = "URL & Appkey",
        told = "What a program needs to use this project's keys.",
        url = "URL",
        appkeys = "Appkeys",
        lines = "Lines to paste",
        lines_told = "They are for a shell with curl. The key store's client checks apply to the machine where they run: register its address first.",
        learn = "Learn this service's certificate authority, once",
        learn_told = "Compare what openssl prints with this fingerprint, so that you know it is this service that answered:",
        authority = "Certificate authority",
        fingerprint = "SHA-256 fingerprint",
        confirm = "Who the service thinks you are",
        encrypt = "Encrypt with a key of this project",
        encrypt_none = "This project has no symmetric key in service yet. Once it has one, a line that encrypts with it stands here.",
        access_key = "List key stores, with an access key (v1.2)",
        access_key_told = "Put your own User Access Key ID and Secret Access Key in: API Security Settings makes them.",
        token = "Get a token for an access key (v1.3)",
        use_token = "Use the token",
        documentation = "API documentation",
        manual = "Manual",
        no_appkey = "This project has no appkey.",

        key_stores_title = "Key stores and clients",
        key_stores_told = "A key store is a set of keys together with the clients that may use them. It says which checks a client must pass: the address it comes from (IPv4), its MAC address, a client certificate; all of those chosen, or any one of them. A MAC address is what the client says of itself: combine it with something that proves more. People at this console are not checked that way: their roles say what they may.",
        kinds_title = "Kinds of keys",
        kinds_told = "Confidential data is a text such as a password, kept encrypted and handed out to clients that pass. A symmetric key (AES-256) encrypts and decrypts up to 32 KiB and makes data keys for more. An asymmetric key (RSA-2048) signs and verifies. Symmetric and asymmetric keys are made in the hardware token and never leave it; nobody can export them, you neither.",
        versions_title = "Versions and rotation",
        versions_told = "Rotating a key makes a new version, with which is encrypted and signed from then on. Older versions still decrypt and verify, so nothing has to be encrypted again. A key rotates by itself after the days that you set, or at once when you ask. Imported keys and confidential data don't rotate.",
        deletion_title = "Deletion in two steps",
        deletion_told = "Request for Deletion stops a key, a version or a client at once, and destroys it after 7 days. Until then Cancel Deletion brings it back as it was, and Immediately Delete ends the waiting. What was encrypted with a destroyed key is lost for good. A key store can be deleted once it holds no keys.",
        roles_title = "Roles",
        roles_told = "Roles are given for each project. An administrator of the installation makes projects and accounts and gives roles; he needs a role himself to see keys.",
        api_title = "Using it from a program",
        api_told = "URL & Appkey, above the tabs of each project, has the address, the appkeys and lines to paste. v1.0 and v1.1 need the appkey alone, v1.2 an access key, v1.3 a token that is got for one; changes through the API need v1.2 or v1.3. Access keys are made under API Security Settings.",
        api_docs = "The API's documentation, to read and try",
        audit_title = "What is written down",
        audit_told = "Every call and every click that changes or reads something is in the audit log before it is answered: who, from where, which operation on which key, with which result. Data never is. Usage History shows a project's part of it.",
    }
}

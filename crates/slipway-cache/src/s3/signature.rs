//! How does an S3 server know who asks? Every request is signed: version 4 of Amazon's signatures.

use ring::hmac;
use slipway_oci::Digest;
use slipway_registry::ObjectMethod;

use super::S3Config;

/// What a signature speaks for.
pub(super) struct Signed<'a> {
    pub(super) config: &'a S3Config,
    pub(super) method: ObjectMethod,
    pub(super) host: &'a str,
    /// As it is sent.
    pub(super) path: &'a str,
    /// As it is sent: escaped, in the order of names, each with a value.
    pub(super) query: &'a str,
    /// `20130524T000000Z`.
    pub(super) time: &'a str,
    pub(super) payload: &'a Digest,
}

impl Signed<'_> {
    /// The `Authorization` header (AWS Signature Version 4), for a request with `headers` in the order of their names.
    pub(super) fn authorization(&self, headers: &[(&'static str, String)]) -> String {
        let method = match self.method {
            ObjectMethod::Get => "GET",
            ObjectMethod::Head => "HEAD",
            ObjectMethod::Put => "PUT",
            ObjectMethod::Post => "POST",
            ObjectMethod::Delete => "DELETE",
        };
        let mut all = vec![("host", self.host)];
        all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
        let lines: String = all.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let request = format!("{method}\n{}\n{}\n{lines}\n{names}\n{}", self.path, self.query, self.payload.hex());
        let day = self.time.split('T').next().unwrap_or_default();
        let scope = format!("{day}/{}/s3/aws4_request", self.config.region);
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", self.time, Digest::of(request.as_bytes()).hex());
        let mut key = [b"AWS4", self.config.secret_access_key.as_slice()].concat();
        for part in [day, &self.config.region, "s3", "aws4_request"] {
            key = hmac_of(&key, part);
        }
        let signature: String = hmac_of(&key, &text).iter().map(|byte| format!("{byte:02x}")).collect();
        let credential = format!("{}/{scope}", self.config.access_key_id);
        format!("AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={names},Signature={signature}")
    }
}

fn hmac_of(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::testing::config;

    /// The first example of Amazon's "Signature Calculations for the Authorization Header".
    #[test]
    fn requests_are_signed_as_amazon_wants_it() {
        let payload = Digest::of(b"");
        let signed = Signed {
            config: &config(),
            method: ObjectMethod::Get,
            host: "examplebucket.s3.amazonaws.com",
            path: "/test.txt",
            query: "",
            time: "20130524T000000Z",
            payload: &payload,
        };
        let headers = [
            ("range", "bytes=0-9".to_owned()),
            ("x-amz-content-sha256", payload.hex().to_owned()),
            ("x-amz-date", "20130524T000000Z".to_owned()),
        ];
        assert_eq!(
            signed.authorization(&headers),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
    }

    /// Amazon's example of a request for a lifecycle, which has a query and no range.
    #[test]
    fn a_query_is_signed_too() {
        let payload = Digest::of(b"");
        let signed = Signed {
            config: &config(),
            method: ObjectMethod::Get,
            host: "examplebucket.s3.amazonaws.com",
            path: "/",
            query: "lifecycle=",
            time: "20130524T000000Z",
            payload: &payload,
        };
        let headers =
            [("x-amz-content-sha256", payload.hex().to_owned()), ("x-amz-date", "20130524T000000Z".to_owned())];
        let authorization = signed.authorization(&headers);
        let expected = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543";
        assert!(authorization.ends_with(&format!("Signature={expected}")), "{authorization}");
    }
}

//! What stands at the top of a Compose file: networks, volumes, secrets, configs, models.

use super::*;

const fn resources(object: &'static Accepts, is_closed: bool) -> Accepts {
    Accepts::Entries { names: Names::Resources, values: object, is_closed }
}

/// The whole file.
pub(crate) static PROJECT: Object = Object {
    attributes: &[
        attribute("name", TEXT, Shows::Text),
        attribute("version", TEXT, Shows::Nothing),
        attribute("include", Accepts::List { items: &INCLUDE, is_unique: false }, Shows::Nothing),
        attribute("services", resources(&Accepts::Object(&SERVICE), true), Shows::ObjectMap(&SERVICE)),
        attribute("networks", resources(&Accepts::MaybeObject(&NETWORK), false), Shows::ObjectMap(&NETWORK)),
        attribute("volumes", resources(&Accepts::MaybeObject(&VOLUME), true), Shows::ObjectMap(&VOLUME)),
        attribute("secrets", resources(&Accepts::Object(&SECRET), true), Shows::ObjectMap(&SECRET)),
        attribute("configs", resources(&Accepts::Object(&CONFIG), true), Shows::ObjectMap(&CONFIG)),
        attribute("models", resources(&Accepts::Object(&MODEL), false), Shows::ObjectMap(&MODEL)),
    ],
    required: &[],
    others: Others::Extensions,
};

const INCLUDE: Accepts = Accepts::Either(&[
    TEXT,
    Accepts::Object(&Object {
        attributes: &[
            attribute("path", TEXT_OR_TEXTS, Shows::Nothing),
            attribute("env_file", TEXT_OR_TEXTS, Shows::Nothing),
            attribute("project_directory", TEXT, Shows::Nothing),
        ],
        required: &[],
        others: Others::Nothing,
    }),
]);

static EXTERNAL_NAME: Object =
    Object { attributes: &[attribute("name", TEXT, Shows::Nothing)], required: &[], others: Others::Extensions };

/// `external: true`, or the old `external: {name: x}`.
const EXTERNAL: Accepts = Accepts::Either(&[FLAG, Accepts::Object(&EXTERNAL_NAME)]);

static IPAM_POOL: Object = Object {
    attributes: &[
        attribute("subnet", TEXT, Shows::Text),
        attribute("gateway", TEXT, Shows::Text),
        attribute("ip_range", TEXT, Shows::Text),
        attribute("aux_addresses", TEXT_MAP, Shows::Mapping),
    ],
    required: &[],
    others: Others::Extensions,
};

static IPAM: Object = Object {
    attributes: &[
        attribute("driver", TEXT, Shows::Text),
        attribute(
            "config",
            Accepts::List { items: &Accepts::Object(&IPAM_POOL), is_unique: false },
            Shows::Objects(&IPAM_POOL),
        ),
        attribute("options", TEXT_MAP, Shows::Nothing),
    ],
    required: &[],
    others: Others::Extensions,
};

static NETWORK: Object = Object {
    attributes: &[
        attribute("name", TEXT, Shows::Text),
        attribute("driver", TEXT, Shows::Text),
        attribute("driver_opts", TEXT_OR_NUMBER_MAP, Shows::Mapping),
        attribute("ipam", Accepts::Object(&IPAM), Shows::Part(&IPAM)),
        attribute("external", EXTERNAL, Shows::Flag),
        attribute("internal", FLAG, Shows::Flag),
        attribute("attachable", FLAG, Shows::Flag),
        attribute("labels", KEY_VALUES, Shows::Mapping),
        attribute("enable_ipv4", FLAG, Shows::FlagIfSet),
        attribute("enable_ipv6", FLAG, Shows::FlagIfSet),
    ],
    required: &[],
    others: Others::Extensions,
};

static VOLUME: Object = Object {
    attributes: &[
        attribute("name", TEXT, Shows::Text),
        attribute("driver", TEXT, Shows::Text),
        attribute("driver_opts", TEXT_OR_NUMBER_MAP, Shows::Mapping),
        attribute("external", EXTERNAL, Shows::Flag),
        attribute("labels", KEY_VALUES, Shows::Mapping),
    ],
    required: &[],
    others: Others::Extensions,
};

static SECRET: Object = Object {
    attributes: &[
        attribute("name", TEXT, Shows::Text),
        attribute("file", TEXT, Shows::Text),
        attribute("environment", TEXT, Shows::Text),
        attribute("external", EXTERNAL, Shows::Flag),
        attribute("labels", KEY_VALUES, Shows::Mapping),
        attribute("driver", TEXT, Shows::Text),
        attribute("driver_opts", TEXT_OR_NUMBER_MAP, Shows::Mapping),
        attribute("template_driver", TEXT, Shows::Text),
    ],
    required: &[],
    others: Others::Extensions,
};

static CONFIG: Object = Object {
    attributes: &[
        attribute("name", TEXT, Shows::Text),
        attribute("file", TEXT, Shows::Text),
        attribute("environment", TEXT, Shows::Text),
        attribute("content", TEXT, Shows::Text),
        attribute("external", EXTERNAL, Shows::Flag),
        attribute("labels", KEY_VALUES, Shows::Mapping),
        attribute("template_driver", TEXT, Shows::Text),
    ],
    required: &[],
    others: Others::Extensions,
};

static MODEL: Object = Object {
    attributes: &[
        attribute("name", TEXT, Shows::Text),
        attribute("model", TEXT, Shows::Text),
        attribute("context_size", Accepts::Kinds(&[Kind::Integer]), Shows::Integer),
        attribute("runtime_flags", TEXTS, Shows::Texts),
    ],
    required: &["model"],
    others: Others::Extensions,
};

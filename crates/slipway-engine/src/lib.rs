//! Puts the parts together: carries out ops, makes layers, exports.

mod layer;

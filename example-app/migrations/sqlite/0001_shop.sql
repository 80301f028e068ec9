CREATE TABLE users (
    id BLOB PRIMARY KEY,
    username TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL
        CONSTRAINT users_role_valid CHECK (role IN ('user', 'moderator', 'admin')),
    must_reset_password BOOLEAN NOT NULL DEFAULT FALSE,
    created_at TEXT NOT NULL
);

-- Names are kept as typed and compared without regard to case.
CREATE UNIQUE INDEX users_username_key ON users (lower(username));

CREATE TABLE sessions (
    token_hash TEXT PRIMARY KEY,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
);

CREATE INDEX sessions_user_idx ON sessions (user_id);

CREATE TABLE orders (
    id BLOB PRIMARY KEY,
    user_id BLOB NOT NULL REFERENCES users (id),
    product TEXT NOT NULL,
    quantity INTEGER NOT NULL
        CONSTRAINT orders_quantity_valid CHECK (quantity BETWEEN 1 AND 100),
    total_cents INTEGER NOT NULL
        CONSTRAINT orders_total_valid CHECK (total_cents > 0),
    status TEXT NOT NULL
        CONSTRAINT orders_status_valid CHECK (status IN ('pending', 'paid')),
    created_at TEXT NOT NULL
);

CREATE INDEX orders_user_created_idx ON orders (user_id, created_at DESC, id DESC);
CREATE INDEX orders_created_idx ON orders (created_at DESC, id DESC);

CREATE TABLE payments (
    id BLOB PRIMARY KEY,
    order_id BLOB NOT NULL REFERENCES orders (id),
    amount_cents INTEGER NOT NULL,
    status TEXT NOT NULL
        CONSTRAINT payments_status_valid CHECK (status IN ('pending', 'captured', 'failed')),
    failure TEXT,
    gateway_reference TEXT,
    created_at TEXT NOT NULL,
    settled_at TEXT
);

-- An order is charged at most once, also when two requests race.
CREATE UNIQUE INDEX payments_one_live_per_order
    ON payments (order_id) WHERE status IN ('pending', 'captured');

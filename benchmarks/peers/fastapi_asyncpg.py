"""FastAPI and asyncpg under uvicorn, two processes: single readings by INSERT, batches by COPY.

The device's token is looked up on every request; the answer follows the commit. Ids are random,
so a batch that is sent twice is stored twice.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import AwareDatetime, BaseModel, Field

FIND_DEVICE = """
    SELECT devices.id FROM device_tokens JOIN devices ON devices.id = device_id
    JOIN users ON users.id = user_id
    WHERE token_hash = $1 AND NOT revoked AND (expires_at IS NULL OR expires_at > now())
      AND devices.deleted_at IS NULL AND users.is_active
"""
COLUMNS = ["id", "device_id", "telemetry_type", "payload", "recorded_at", "created_at"]
INSERT = f"INSERT INTO telemetry ({', '.join(COLUMNS)}) VALUES ($1, $2, $3, $4, $5, $6)"  # noqa: S608
INSERT += " ON CONFLICT DO NOTHING"


class Reading(BaseModel):
    telemetry_type: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    payload: dict[str, Any]
    recorded_at: AwareDatetime


async def prepare(connection: asyncpg.Connection) -> None:
    """Write jsonb as JSON text behind its version byte, which COPY needs."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + msgspec.json.encode(value),
        decoder=lambda value: msgspec.json.decode(value[1:]),
    )


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.pool = await asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=4, max_size=8, init=prepare
    )
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)


async def speaking_device(request: Request, authorization: Annotated[str, Header()]) -> UUID:
    digest = sha256(authorization.removeprefix("Bearer ").encode()).digest()
    device = await request.app.state.pool.fetchval(FIND_DEVICE, digest)
    if device is None:
        raise HTTPException(401)
    return device


Device = Annotated[UUID, Depends(speaking_device)]


@app.post("/readings", status_code=201)
async def store(reading: Reading, request: Request, device: Device) -> dict[str, str]:
    row = as_row(reading, device, datetime.now(UTC))
    await request.app.state.pool.execute(INSERT, *row)
    return {"id": str(row[0])}


@app.post("/batches", status_code=201)
async def store_all(readings: list[Reading], request: Request, device: Device) -> dict[str, int]:
    now = datetime.now(UTC)
    rows = [as_row(reading, device, now) for reading in readings]
    async with request.app.state.pool.acquire() as connection:
        await connection.copy_records_to_table("telemetry", records=rows, columns=COLUMNS)
    return {"accepted": len(rows)}


def as_row(reading: Reading, device: UUID, now: datetime) -> tuple[Any, ...]:
    return (uuid4(), device, reading.telemetry_type, reading.payload, reading.recorded_at, now)

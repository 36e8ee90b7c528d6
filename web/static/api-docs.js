window.SwaggerUIBundle({
  url: "/api/openapi.json",
  dom_id: "#swagger-ui",
  validatorUrl: null,
  requestInterceptor: async (request) => {
    if (!["GET", "HEAD"].includes(request.method) && !request.url.endsWith("/api/session")) {
      const session = await fetch("/api/session");
      if (session.ok) request.headers["X-CSRF-Token"] = (await session.json()).csrf_token;
    }
    return request;
  },
});
